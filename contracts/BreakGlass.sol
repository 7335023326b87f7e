// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {EIP712Upgradeable} from "@openzeppelin/contracts-upgradeable/utils/cryptography/EIP712Upgradeable.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {Governed} from "./Governed.sol";
import {CONSENTS, DATASETS, MEMBERSHIP, REVIEWS} from "./Names.sol";
import {IBreakGlass} from "./interfaces/IBreakGlass.sol";
import {IConsentRegistry} from "./interfaces/IConsentRegistry.sol";
import {IDatasetRegistry} from "./interfaces/IDatasetRegistry.sol";
import {IMembership} from "./interfaces/IMembership.sol";
import {IReviews} from "./interfaces/IReviews.sol";
import {GrantId, MemberId} from "./interfaces/Types.sol";
import {Pages} from "./libraries/Pages.sol";

/// @title Access in an emergency, and the review that must follow.
contract BreakGlass is IBreakGlass, Governed, EIP712Upgradeable {
    using Pages for bytes32[];

    bytes32 private constant BREAK_GLASS_TYPE = keccak256("BreakGlass(bytes32 grantDigest,bytes32 purpose)");
    uint64 private constant LONGEST = 72 hours;
    uint64 private constant REVIEW_TIME = 7 days; // after the grant's end

    /// @custom:storage-location erc7201:fatechain.storage.BreakGlass
    struct BreakGlassStorage {
        mapping(bytes32 id => Emergency) emergencies;
        bytes32[] list;
        mapping(MemberId owner => uint256) owing; // lapsed and not reviewed since
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.BreakGlass")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant BREAK_GLASS_SLOT = 0x4bfe912d27c35554c9bf5f80a997a977b19afb40e739a88a1742da0e114bf900;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
        __EIP712_init("FATE-Chain BreakGlass", "1");
    }

    // ------------------------------------------------------------------ moves

    function open(
        IConsentRegistry.Grant calldata terms,
        address first,
        bytes calldata firstSignature,
        address second,
        bytes calldata secondSignature,
        bytes32 purpose
    ) external returns (bytes32 id) {
        Emergency memory made;
        made.owner = IDatasetRegistry(_contractOf(DATASETS)).dataset(terms.datasetId).owner;
        (made.first, made.second, made.purpose) = (first, second, purpose);
        _setTimes(made, terms.until);
        if (first == second) revert BreakGlassSamePerson(first);
        bytes32 message = digest(terms, purpose);
        _requireSigned(made.owner, first, message, firstSignature);
        _requireSigned(made.owner, second, message, secondSignature);
        id = GrantId.unwrap(_consents().grantInEmergency(terms));
        _record(id, made);
    }

    function review(bytes32 id, bool justified, bytes32 reasons) external onlyAuthority {
        Emergency storage found = _known(id);
        if (found.reviewedAt != 0) revert BreakGlassAlreadyReviewed(id, found.reviewedAt);
        found.reviewedAt = uint64(block.number);
        if (found.lapsedAt != 0) _state().owing[found.owner] -= 1;
        found.justified = justified;
        found.reasons = reasons;
        emit BreakGlassReviewed(id, found.owner, justified, reasons);
    }

    function lapse(bytes32 id) external {
        Emergency storage found = _known(id);
        if (found.reviewedAt != 0) revert BreakGlassAlreadyReviewed(id, found.reviewedAt);
        if (found.lapsedAt != 0) revert BreakGlassAlreadyLapsed(id, found.lapsedAt);
        if (_stateOf(found) != State.Overdue) revert BreakGlassNotOverdue(id, found.reviewBy);
        found.lapsedAt = uint64(block.number);
        _state().owing[found.owner] += 1;
        emit BreakGlassLapsed(id, found.owner);
        _suspend(found.owner);
    }

    // ------------------------------------------------------------------ reading

    function digest(IConsentRegistry.Grant calldata terms, bytes32 purpose) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(BREAK_GLASS_TYPE, _consents().digest(terms), purpose)));
    }

    function emergency(bytes32 id) external view returns (Emergency memory) {
        return _known(id);
    }

    function state(bytes32 id) external view returns (State) {
        return _stateOf(_state().emergencies[id]);
    }

    function owing(MemberId owner) external view returns (uint256) {
        return _state().owing[owner];
    }

    function emergencyCount() external view returns (uint256) {
        return _state().list.length;
    }

    function emergencies(uint256 offset, uint256 limit) external view returns (bytes32[] memory) {
        return _state().list.slice(offset, limit);
    }

    // ------------------------------------------------------------------ inside

    /// @dev The only place where a state comes from the facts.
    function _stateOf(Emergency storage found) private view returns (State) {
        if (found.openedAt == 0) return State.None;
        if (found.reviewedAt != 0) return State.Reviewed;
        if (found.lapsedAt != 0) return State.Lapsed;
        return block.timestamp < found.reviewBy ? State.Unreviewed : State.Overdue;
    }

    function _setTimes(Emergency memory made, uint64 until) private view {
        uint64 latest = uint64(block.timestamp) + LONGEST;
        if (until > latest) revert BreakGlassTooLong(until, latest);
        made.openedAt = uint64(block.number);
        made.until = until;
        made.reviewBy = until + REVIEW_TIME;
    }

    /// @dev As far as it goes: a lapse is not held up by an owner that is suspended already, or that the quorum needs. Any
    /// other failure is passed on, one for want of gas too: whoever calls does not choose that the owner goes on.
    function _suspend(MemberId owner) private {
        IMembership membership = IMembership(_contractOf(MEMBERSHIP));
        if (membership.standing(owner) != IMembership.Standing.Active) return;
        // solhint-disable-next-line no-empty-blocks
        try membership.suspendUnreviewed(owner) {}
        catch (bytes memory reason) {
            if (bytes4(reason) == IMembership.MembershipTooFew.selector) return;
            assembly ("memory-safe") {
                revert(add(reason, 32), mload(reason))
            }
        }
    }

    function _record(bytes32 id, Emergency memory made) private {
        uint256 owed = _state().owing[made.owner];
        if (owed != 0) revert BreakGlassOwing(made.owner, owed);
        _state().emergencies[id] = made;
        _state().list.push(id);
        emit BreakGlassOpened(
            id, made.owner, GrantId.wrap(id), made.first, made.second, made.purpose, made.until, made.reviewBy
        );
    }

    function _requireSigned(MemberId owner, address person, bytes32 message, bytes calldata signature) private view {
        if (IReviews(_contractOf(REVIEWS)).memberOfPerson(person) != owner) revert BreakGlassNotAppointed(person, owner);
        if (!SignatureChecker.isValidSignatureNow(person, message, signature)) revert BreakGlassBadSignature(person);
    }

    function _known(bytes32 id) private view returns (Emergency storage found) {
        found = _state().emergencies[id];
        if (found.openedAt == 0) revert BreakGlassUnknown(id);
    }

    function _consents() private view returns (IConsentRegistry) {
        return IConsentRegistry(_contractOf(CONSENTS));
    }

    function _state() private pure returns (BreakGlassStorage storage $) {
        assembly {
            $.slot := BREAK_GLASS_SLOT
        }
    }
}
