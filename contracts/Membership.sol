// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ERC721Upgradeable} from "@openzeppelin/contracts-upgradeable/token/ERC721/ERC721Upgradeable.sol";
import {ERC721VotesUpgradeable} from
    "@openzeppelin/contracts-upgradeable/token/ERC721/extensions/ERC721VotesUpgradeable.sol";
import {VotesUpgradeable} from "@openzeppelin/contracts-upgradeable/governance/utils/VotesUpgradeable.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {Governed} from "./Governed.sol";
import {IERC5192} from "./interfaces/IERC5192.sol";
import {IMembership} from "./interfaces/IMembership.sol";
import {MemberId} from "./interfaces/Types.sol";
import {Ids} from "./libraries/Ids.sol";
import {Pages} from "./libraries/Pages.sol";

/// @title One soulbound vote per institution, and its standing through time.
/// @notice The vote is not transferred, not approved to others and not delegated. An account stays with its member for
/// ever, an expelled one too: past signatures keep their meaning, and a return takes another account.
contract Membership is IMembership, IERC5192, Governed, ERC721VotesUpgradeable {
    using Checkpoints for Checkpoints.Trace160;
    using Pages for bytes32[];

    /// @custom:storage-location erc7201:fatechain.storage.Membership
    struct MembershipStorage {
        mapping(MemberId id => Member) members;
        mapping(MemberId id => Checkpoints.Trace160) standings; // block -> Standing
        mapping(address account => MemberId) byAccount;
        bytes32[] list;
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.Membership")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant MEMBERSHIP_SLOT = 0xc66cb236599bdde60e919477fadc52751ceae7eb92f6f3af6fff5004e752b200;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
        __ERC721_init("FATE-Chain Member", "FCM");
        __EIP712_init("FATE-Chain Member", "1");
    }

    // ------------------------------------------------------------------ moves, by the authority

    function admit(address account, string calldata name, uint256 nonce) external onlyAuthority returns (MemberId id) {
        MembershipStorage storage $ = _state();
        id = memberIdFor(account, nonce);
        if ($.members[id].admittedAt != 0) revert MembershipIdTaken(id);
        if (_isSet($.byAccount[account])) revert MembershipAccountTaken(account, $.byAccount[account]);

        $.members[id] = Member(account, name, uint64(block.number), 0, 0);
        $.byAccount[account] = id;
        $.list.push(MemberId.unwrap(id));
        _setStanding(id, Standing.Active);

        _mint(account, _token(id));
        _delegate(account, account);
        emit Locked(_token(id));
        emit MemberAdmitted(id, account, name);
    }

    function suspend(MemberId id) external onlyAuthority {
        requireActive(id);
        _state().members[id].suspendedAt = uint64(block.number);
        _setStanding(id, Standing.Suspended);
        emit MemberSuspended(id);
    }

    function reinstate(MemberId id) external onlyAuthority {
        Standing found = _knownStanding(id);
        if (found != Standing.Suspended) revert MembershipNotSuspended(id, found);
        _state().members[id].suspendedAt = 0;
        _setStanding(id, Standing.Active);
        emit MemberReinstated(id);
    }

    function expel(MemberId id) external onlyAuthority {
        Standing found = _knownStanding(id);
        if (found == Standing.Expelled) revert MembershipNotActive(id, found);
        _state().members[id].expelledAt = uint64(block.number);
        _setStanding(id, Standing.Expelled);
        _burn(_token(id));
        emit MemberExpelled(id);
    }

    // ------------------------------------------------------------------ reading

    function memberIdFor(address account, uint256 nonce) public view returns (MemberId) {
        return MemberId.wrap(Ids.derive(account, nonce));
    }

    function member(MemberId id) external view returns (Member memory) {
        _knownStanding(id);
        return _state().members[id];
    }

    function memberOf(address account) public view returns (MemberId id) {
        id = _state().byAccount[account];
        if (!_isSet(id)) revert MembershipNotAMember(account);
    }

    function standing(MemberId id) public view returns (Standing) {
        return standingAt(id, uint64(block.number));
    }

    function standingAt(MemberId id, uint64 blockNumber) public view returns (Standing) {
        return Standing(uint8(_state().standings[id].upperLookupRecent(blockNumber)));
    }

    function requireActive(MemberId id) public view {
        Standing found = _knownStanding(id);
        if (found != Standing.Active) revert MembershipNotActive(id, found);
    }

    function requireActiveAccount(address account) external view returns (MemberId id) {
        id = memberOf(account);
        requireActive(id);
    }

    function memberCount() external view returns (uint256) {
        return _state().list.length;
    }

    function members(uint256 offset, uint256 limit) external view returns (MemberId[] memory page) {
        bytes32[] memory raw = _state().list.slice(offset, limit);
        assembly ("memory-safe") {
            page := raw
        }
    }

    // ------------------------------------------------------------------ the token: soulbound

    /// @inheritdoc IERC5192
    function locked(uint256 tokenId) external view returns (bool) {
        _requireOwned(tokenId);
        return true;
    }

    function approve(address, uint256) public pure override {
        revert MembershipSoulbound();
    }

    function setApprovalForAll(address, bool) public pure override {
        revert MembershipSoulbound();
    }

    function transferFrom(address, address, uint256) public pure override {
        revert MembershipSoulbound();
    }

    /// @dev One member, one vote: nobody collects the votes of others.
    function delegate(address) public pure override {
        revert MembershipSoulbound();
    }

    function delegateBySig(address, uint256, uint256, uint8, bytes32, bytes32) public pure override {
        revert MembershipSoulbound();
    }

    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IERC5192).interfaceId || super.supportsInterface(interfaceId);
    }

    // ------------------------------------------------------------------ inside

    function _knownStanding(MemberId id) private view returns (Standing found) {
        found = standing(id);
        if (found == Standing.None) revert MembershipUnknown(id);
    }

    function _setStanding(MemberId id, Standing to) private {
        _state().standings[id].push(uint96(block.number), uint160(uint8(to)));
    }

    function _token(MemberId id) private pure returns (uint256) {
        return uint256(MemberId.unwrap(id));
    }

    function _isSet(MemberId id) private pure returns (bool) {
        return MemberId.unwrap(id) != 0;
    }

    function _state() private pure returns (MembershipStorage storage $) {
        assembly {
            $.slot := MEMBERSHIP_SLOT
        }
    }
}
