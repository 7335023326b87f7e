// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {EIP712Upgradeable} from "@openzeppelin/contracts-upgradeable/utils/cryptography/EIP712Upgradeable.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {Governed} from "./Governed.sol";
import {BREAKGLASS, DATASETS, EMERGENCY, JOBS, MEMBERSHIP} from "./Names.sol";
import {ALL_MEMBERS, IConsentRegistry} from "./interfaces/IConsentRegistry.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";
import {IDatasetRegistry} from "./interfaces/IDatasetRegistry.sol";
import {IMembership} from "./interfaces/IMembership.sol";
import {DatasetId, GrantId, MemberId, Word} from "./interfaces/Types.sol";
import {Ids} from "./libraries/Ids.sol";
import {Pages} from "./libraries/Pages.sol";

/// @title What data owners allowed.
/// @notice A signed grant that nobody relayed yet is made void by relaying another one under the same nonce.
contract ConsentRegistry is IConsentRegistry, Governed, EIP712Upgradeable {
    using Pages for bytes32[];

    bytes32 private constant GRANT_TYPE = keccak256(
        "Grant(bytes32 datasetId,uint32 fromVersion,uint32 toVersion,bytes32 grantee,bytes32[] purposes,"
        "bytes32[] algorithms,uint64 until,uint32 uses,uint8 minParties,uint64 minRows,uint64 productBudget,"
        "uint64 epsilonMicro,bytes32 columnRules,bytes32 amends,uint256 nonce)"
    );
    uint256 private constant MAX_CHOICES = 8; // purposes, algorithms
    bytes32 private constant REVOCATION_TYPE = keccak256("Revocation(bytes32 grantId)");

    /// @dev What a job asks of a grant.
    struct Ask {
        MemberId grantee;
        DatasetId datasetId;
        uint32 version;
        Word purpose;
        bytes32 algorithm;
        uint256 parties;
    }

    /// @custom:storage-location erc7201:fatechain.storage.ConsentRegistry
    struct ConsentRegistryStorage {
        mapping(GrantId id => Record) records;
        bytes32[] list;
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.ConsentRegistry")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant CONSENT_REGISTRY_SLOT = 0xe659a1c85e2a362c0ce24821969a58b9e02de3e1d5d8c089259bdd0310a4cf00;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
        __EIP712_init("FATE-Chain Consent", "1");
    }

    // ------------------------------------------------------------------ by the owner

    function grant(Grant calldata terms, bytes calldata signature) external returns (GrantId id) {
        (MemberId owner, address account) = _activeOwner(terms.datasetId);
        _requireSigned(owner, account, digest(terms), signature);
        for (uint256 i = 0; i < terms.purposes.length; ++i) {
            if (terms.purposes[i] == EMERGENCY) revert ConsentBadTerms("purposes");
        }
        id = _record(terms, owner, account);
        if (GrantId.unwrap(terms.amends) != 0) _amend(terms.amends, id);
    }

    function grantInEmergency(Grant calldata terms) external returns (GrantId) {
        if (msg.sender != _contractOf(BREAKGLASS)) revert ConsentNotBreakGlass(msg.sender);
        (MemberId owner, address account) = _activeOwner(terms.datasetId);
        if (terms.purposes.length != 1 || terms.purposes[0] != EMERGENCY) revert ConsentBadTerms("purposes");
        if (GrantId.unwrap(terms.amends) != 0) revert ConsentBadTerms("amends");
        return _record(terms, owner, account);
    }

    function revoke(GrantId id) external {
        Record storage found = _known(id);
        if (_account(found.owner) != msg.sender) revert ConsentNotOwner(id, msg.sender);
        _revoke(id, found);
    }

    function revokeBySignature(GrantId id, bytes calldata signature) external {
        Record storage found = _known(id);
        bytes32 message = _hashTypedDataV4(keccak256(abi.encode(REVOCATION_TYPE, id)));
        _requireSigned(found.owner, _account(found.owner), message, signature);
        _revoke(id, found);
    }

    // ------------------------------------------------------------------ by the job registry

    function consume(
        GrantId id,
        bytes32 job,
        MemberId grantee,
        DatasetId datasetId,
        uint32 version,
        Word purpose,
        bytes32 algorithm,
        uint256 parties
    ) external {
        if (msg.sender != _contractOf(JOBS)) revert ConsentNotJobs(msg.sender);
        Record storage found = _known(id);
        _requireUsable(id, found, Ask(grantee, datasetId, version, purpose, algorithm, parties));
        found.used += 1;
        emit ConsentUsed(id, job, found.used);
    }

    // ------------------------------------------------------------------ reading

    function grantIdFor(address account, uint256 nonce) public view returns (GrantId) {
        return GrantId.wrap(Ids.derive(account, nonce));
    }

    /// @dev EIP-712: a list is the hash of its elements, everything else is one word. In two halves, for the stack.
    function digest(Grant calldata terms) public view returns (bytes32) {
        bytes memory first = abi.encode(
            GRANT_TYPE,
            terms.datasetId,
            terms.fromVersion,
            terms.toVersion,
            terms.grantee,
            keccak256(abi.encodePacked(terms.purposes)),
            keccak256(abi.encodePacked(terms.algorithms)),
            terms.until
        );
        bytes memory second = abi.encode(
            terms.uses,
            terms.minParties,
            terms.minRows,
            terms.productBudget,
            terms.epsilonMicro,
            terms.columnRules,
            terms.amends,
            terms.nonce
        );
        return _hashTypedDataV4(keccak256(bytes.concat(first, second)));
    }

    function record(GrantId id) external view returns (Record memory) {
        return _known(id);
    }

    function state(GrantId id) external view returns (State) {
        return _stateOf(_state().records[id]);
    }

    function requireUsable(
        GrantId id,
        MemberId grantee,
        DatasetId datasetId,
        uint32 version,
        Word purpose,
        bytes32 algorithm,
        uint256 parties
    ) external view {
        _requireUsable(id, _known(id), Ask(grantee, datasetId, version, purpose, algorithm, parties));
    }

    function requireStanding(
        GrantId id,
        MemberId grantee,
        DatasetId datasetId,
        uint32 version,
        Word purpose,
        bytes32 algorithm,
        uint256 parties
    ) external view {
        _requireStanding(id, _known(id), Ask(grantee, datasetId, version, purpose, algorithm, parties));
    }

    function grantCount() external view returns (uint256) {
        return _state().list.length;
    }

    function grants(uint256 offset, uint256 limit) external view returns (GrantId[] memory page) {
        bytes32[] memory raw = _state().list.slice(offset, limit);
        assembly ("memory-safe") {
            page := raw
        }
    }

    // ------------------------------------------------------------------ what a grant allows

    /// @dev The only place where a state comes from the facts. The owner's word stands before time and count.
    function _stateOf(Record storage found) private view returns (State) {
        if (found.fromBlock == 0) return State.None;
        if (found.revokedAt != 0) return State.Revoked;
        if (found.amendedAt != 0) return State.Amended;
        if (block.timestamp >= found.grant.until) return State.Expired;
        if (found.used >= found.grant.uses) return State.UsedUp;
        return State.Active;
    }

    function _requireUsable(GrantId id, Record storage found, Ask memory ask) private view {
        _requireStanding(id, found, ask);
        if (_stateOf(found) == State.UsedUp) revert ConsentUsedUp(id, found.grant.uses);
    }

    function _requireStanding(GrantId id, Record storage found, Ask memory ask) private view {
        _requireAlive(id, found);
        Grant storage terms = found.grant;
        if (ask.datasetId != terms.datasetId) revert ConsentWrongDataset(id, ask.datasetId, terms.datasetId);
        if (ask.version < terms.fromVersion || ask.version > terms.toVersion) {
            revert ConsentWrongVersion(id, ask.version, terms.fromVersion, terms.toVersion);
        }
        _requireGrantee(id, ask.grantee, terms.grantee);
        if (!_holdsPurpose(terms.purposes, ask.purpose)) revert ConsentWrongPurpose(id, ask.purpose);
        _requirePurposeAllowed(ask.purpose);
        if (!_holdsAlgorithm(terms.algorithms, ask.algorithm)) revert ConsentWrongAlgorithm(id, ask.algorithm);
        if (ask.parties < terms.minParties) revert ConsentTooFewParties(id, ask.parties, terms.minParties);
    }

    function _requireGrantee(GrantId id, MemberId found, MemberId granted) private view {
        if (granted == ALL_MEMBERS) {
            IMembership(_contractOf(MEMBERSHIP)).requireActive(found);
        } else if (found != granted) {
            revert ConsentWrongGrantee(id, found, granted);
        }
    }

    function _holdsPurpose(Word[] storage all, Word wanted) private view returns (bool) {
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i] == wanted) return true;
        }
        return false;
    }

    function _holdsAlgorithm(bytes32[] storage all, bytes32 wanted) private view returns (bool) {
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i] == wanted) return true;
        }
        return false;
    }

    /// @dev Not revoked, amended or expired; a grant that is used up is alive, for the jobs that used it.
    function _requireAlive(GrantId id, Record storage found) private view {
        State now_ = _stateOf(found);
        if (now_ == State.Revoked) revert ConsentRevoked(id, found.revokedAt);
        if (now_ == State.Amended) revert ConsentAmended(id, found.amendedAt);
        if (now_ == State.Expired) revert ConsentExpired(id, found.grant.until);
    }

    // ------------------------------------------------------------------ inside

    function _activeOwner(DatasetId datasetId) private view returns (MemberId owner, address account) {
        owner = IDatasetRegistry(_contractOf(DATASETS)).dataset(datasetId).owner;
        IMembership membership = IMembership(_contractOf(MEMBERSHIP));
        membership.requireActive(owner);
        account = membership.member(owner).account;
    }

    function _record(Grant calldata terms, MemberId owner, address account) private returns (GrantId id) {
        id = grantIdFor(account, terms.nonce);
        Record storage found = _state().records[id];
        if (found.fromBlock != 0) revert ConsentTaken(id);
        _checkTerms(terms);
        if (terms.grantee != ALL_MEMBERS) IMembership(_contractOf(MEMBERSHIP)).requireActive(terms.grantee);
        if (terms.grantee == owner) revert ConsentBadTerms("grantee is the owner");

        found.grant = terms;
        found.owner = owner;
        found.fromBlock = uint64(block.number);
        _state().list.push(GrantId.unwrap(id));
        emit ConsentGranted(id, owner, terms.grantee, terms.datasetId);
    }

    function _amend(GrantId id, GrantId by) private {
        Record storage found = _known(id);
        DatasetId datasetId = _state().records[by].grant.datasetId;
        // The owner of a dataset never changes: the same dataset is the same owner.
        if (found.grant.datasetId != datasetId) revert ConsentWrongDataset(id, datasetId, found.grant.datasetId);
        _requireAlive(id, found);
        found.amendedAt = uint64(block.number);
        emit ConsentAmendment(id, by);
    }

    function _revoke(GrantId id, Record storage found) private {
        if (found.revokedAt != 0) revert ConsentRevoked(id, found.revokedAt);
        found.revokedAt = uint64(block.number);
        emit ConsentRevocation(id, found.owner);
    }

    function _checkTerms(Grant calldata terms) private view {
        if (terms.fromVersion == 0 || terms.fromVersion > terms.toVersion) revert ConsentBadTerms("versions");
        _checkPurposes(terms.purposes);
        _checkAlgorithms(terms.algorithms);
        if (terms.until <= block.timestamp) revert ConsentBadTerms("until");
        if (terms.uses == 0) revert ConsentBadTerms("uses");
    }

    function _checkPurposes(Word[] calldata all) private view {
        if (all.length == 0 || all.length > MAX_CHOICES) revert ConsentBadTerms("purposes");
        for (uint256 i = 0; i < all.length; ++i) {
            if (Word.unwrap(all[i]) == 0) revert ConsentBadTerms("purposes");
            _requirePurposeAllowed(all[i]);
        }
    }

    function _checkAlgorithms(bytes32[] calldata all) private pure {
        if (all.length == 0 || all.length > MAX_CHOICES) revert ConsentBadTerms("algorithms");
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i] == 0) revert ConsentBadTerms("algorithms");
        }
    }

    function _requirePurposeAllowed(Word purpose) private view {
        if (!_consortium().isPurposeAllowed(purpose)) revert IConsortium.ConsortiumPurposeNotAllowed(purpose);
    }

    function _requireSigned(MemberId owner, address account, bytes32 message, bytes calldata signature) private view {
        if (!SignatureChecker.isValidSignatureNow(account, message, signature)) revert ConsentBadSignature(owner);
    }

    function _known(GrantId id) private view returns (Record storage found) {
        found = _state().records[id];
        if (found.fromBlock == 0) revert ConsentUnknown(id);
    }

    function _account(MemberId owner) private view returns (address) {
        return IMembership(_contractOf(MEMBERSHIP)).member(owner).account;
    }

    function _state() private pure returns (ConsentRegistryStorage storage $) {
        assembly {
            $.slot := CONSENT_REGISTRY_SLOT
        }
    }
}
