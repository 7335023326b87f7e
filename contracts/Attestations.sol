// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Governed} from "./Governed.sol";
import {MEMBERSHIP, SITES} from "./Names.sol";
import {IAttestations} from "./interfaces/IAttestations.sol";
import {IMembership} from "./interfaces/IMembership.sol";
import {ISiteRegistry} from "./interfaces/ISiteRegistry.sol";
import {MemberId, SiteId, Word} from "./interfaces/Types.sol";

/// @title Who vouches for whom.
/// @notice Attestations are facts of their issuers; whether they count is asked at every use.
contract Attestations is IAttestations, Governed {
    uint256 private constant MAX_KINDS = 8; // required ones: every start of a job asks for each of each member
    uint256 private constant MAX_ISSUERS = 16; // of one kind

    /// @custom:storage-location erc7201:fatechain.storage.Attestations
    struct AttestationsStorage {
        mapping(Word kind => address[]) issuers;
        Word[] required;
        mapping(bytes32 subject => mapping(Word kind => mapping(address issuer => Attestation))) given;
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.Attestations")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant ATTESTATIONS_SLOT = 0xb7defd8495032848c1519b855326f805a4119fa84f1894f6d34a696b2109fd00;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
    }

    // ------------------------------------------------------------------ by the authority

    function nameIssuer(Word kind, address issuer) external onlyAuthority {
        if (Word.unwrap(kind) == 0) revert AttestationZero("kind");
        if (issuer == address(0)) revert AttestationZero("issuer");
        address[] storage all = _state().issuers[kind];
        if (_find(all, issuer) < all.length) revert AttestationIssuerTaken(kind, issuer);
        if (all.length == MAX_ISSUERS) revert AttestationTooManyIssuers(kind, MAX_ISSUERS + 1, MAX_ISSUERS);
        all.push(issuer);
        emit AttestationIssuerNamed(kind, issuer);
    }

    function removeIssuer(Word kind, address issuer) external onlyAuthority {
        address[] storage all = _state().issuers[kind];
        uint256 place = _find(all, issuer);
        if (place == all.length) revert AttestationIssuerUnknown(kind, issuer);
        all[place] = all[all.length - 1];
        all.pop();
        emit AttestationIssuerRemoved(kind, issuer);
    }

    function setRequired(Word kind, bool required) external onlyAuthority {
        if (Word.unwrap(kind) == 0) revert AttestationZero("kind");
        Word[] storage all = _state().required;
        uint256 place = 0;
        while (place < all.length && all[place] != kind) ++place;
        bool is_ = place < all.length;
        if (required && !is_) {
            if (all.length == MAX_KINDS) revert AttestationTooManyKinds(MAX_KINDS + 1, MAX_KINDS);
            all.push(kind);
        } else if (!required && is_) {
            all[place] = all[all.length - 1];
            all.pop();
        }
        emit AttestationRequirementSet(kind, required);
    }

    // ------------------------------------------------------------------ by an issuer

    function attest(bytes32 subject, Word kind, bytes32 digest, uint64 until) external {
        if (!_isNamed(kind, msg.sender)) revert AttestationNotIssuer(kind, msg.sender);
        if (subject == 0) revert AttestationZero("subject");
        if (until <= block.timestamp) revert AttestationExpired(subject, kind, until);
        if (_isOwn(subject, msg.sender)) revert AttestationOwnIssuer(subject, msg.sender);
        _state().given[subject][kind][msg.sender] = Attestation(digest, uint64(block.number), until, 0);
        emit AttestationGiven(subject, kind, msg.sender, digest, until);
    }

    function revoke(bytes32 subject, Word kind) external {
        Attestation storage found = _state().given[subject][kind][msg.sender];
        if (found.fromBlock == 0 || found.revokedAt != 0) revert AttestationMissing(subject, kind);
        found.revokedAt = uint64(block.number);
        emit AttestationRevoked(subject, kind, msg.sender);
    }

    // ------------------------------------------------------------------ reading

    function isAttested(bytes32 subject, Word kind) public view returns (bool) {
        address[] storage all = _state().issuers[kind];
        for (uint256 i = 0; i < all.length; ++i) {
            if (_counts(subject, kind, all[i])) return true;
        }
        return false;
    }

    function requireAll(MemberId subject) external view {
        Word[] storage all = _state().required;
        for (uint256 i = 0; i < all.length; ++i) {
            if (!isAttested(MemberId.unwrap(subject), all[i])) {
                revert AttestationMissing(MemberId.unwrap(subject), all[i]);
            }
        }
    }

    function attestation(bytes32 subject, Word kind, address issuer) external view returns (Attestation memory) {
        return _state().given[subject][kind][issuer];
    }

    function issuers(Word kind) external view returns (address[] memory) {
        return _state().issuers[kind];
    }

    function requiredKinds() external view returns (Word[] memory) {
        return _state().required;
    }

    // ------------------------------------------------------------------ inside

    /// @dev An issuer may have become the subject's own since it attested: an id is known before its member is admitted.
    function _counts(bytes32 subject, Word kind, address issuer) private view returns (bool) {
        Attestation storage found = _state().given[subject][kind][issuer];
        return found.fromBlock != 0 && found.revokedAt == 0 && block.timestamp < found.until
            && !_isOwn(subject, issuer);
    }

    function _isOwn(bytes32 subject, address issuer) private view returns (bool) {
        try IMembership(_contractOf(MEMBERSHIP)).memberOf(issuer) returns (MemberId owner) {
            if (MemberId.unwrap(owner) == subject) return true;
            // solhint-disable-next-line no-empty-blocks
        } catch {} // the account of no member
        ISiteRegistry sites = ISiteRegistry(_contractOf(SITES));
        SiteId site = sites.operatedSite(issuer); // past ones too
        return SiteId.unwrap(site) != 0 && MemberId.unwrap(sites.memberOf(site)) == subject;
    }

    function _isNamed(Word kind, address issuer) private view returns (bool) {
        address[] storage all = _state().issuers[kind];
        return _find(all, issuer) < all.length;
    }

    /// @dev The length where it is not there.
    function _find(address[] storage all, address issuer) private view returns (uint256 place) {
        while (place < all.length && all[place] != issuer) ++place;
    }

    function _state() private pure returns (AttestationsStorage storage $) {
        assembly {
            $.slot := ATTESTATIONS_SLOT
        }
    }
}
