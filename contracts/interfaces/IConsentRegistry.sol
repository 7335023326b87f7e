// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {DatasetId, GrantId, MemberId, Word} from "./Types.sol";

/// @dev The grantee of a grant to every member that is active when it uses it.
MemberId constant ALL_MEMBERS = MemberId.wrap("all-members");

/// @title What a data owner allowed, to whom, for what, until when. Signed by the owner (EIP-712), relayed by anyone.
interface IConsentRegistry {
    enum State {
        None,
        Active,
        Expired,
        UsedUp,
        Revoked,
        Amended
    }

    /// @dev The EIP-712 message. Domain: name "FATE-Chain Consent", version "1", chain id, this contract.
    /// Enforced here: datasetId, versions, grantee, purposes, algorithms, until, uses, minParties.
    /// Enforced by the owner's node: minRows, productBudget, epsilonMicro, columnRules (written here so that all can check
    /// them). Of purposes and of algorithms there are 1 to 8; a use has one of each.
    struct Grant {
        DatasetId datasetId;
        uint32 fromVersion;
        uint32 toVersion;
        MemberId grantee; // ALL_MEMBERS: any active member
        Word[] purposes;
        bytes32[] algorithms; // code digests
        uint64 until; // block time, exclusive
        uint32 uses; // starts of jobs; consumed at start and never returned
        uint8 minParties; // different members among the parties of the job
        uint64 minRows;
        uint64 productBudget; // vectors answered over all jobs of the grant
        uint64 epsilonMicro; // privacy budget in millionths of epsilon; 0: no release under differential privacy
        // SHA-256 of the canonical JSON {column: "join" | "protocol" | "none"}; 0: all columns may enter the protocol
        bytes32 columnRules;
        GrantId amends; // 0: a new grant
        uint256 nonce;
    }

    struct Record {
        Grant grant;
        MemberId owner;
        uint32 used;
        uint64 fromBlock;
        uint64 revokedAt; // block; 0: not revoked
        uint64 amendedAt; // block; 0: not amended
    }

    error ConsentUnknown(GrantId id);
    error ConsentTaken(GrantId id);
    error ConsentBadSignature(MemberId owner);
    error ConsentNotOwner(GrantId id, address caller);
    error ConsentRevoked(GrantId id, uint64 atBlock);
    error ConsentAmended(GrantId id, uint64 atBlock);
    error ConsentExpired(GrantId id, uint64 until);
    error ConsentUsedUp(GrantId id, uint32 uses);
    error ConsentWrongDataset(GrantId id, DatasetId found, DatasetId granted);
    error ConsentWrongVersion(GrantId id, uint32 found, uint32 fromVersion, uint32 toVersion);
    error ConsentWrongGrantee(GrantId id, MemberId found, MemberId granted);
    error ConsentWrongPurpose(GrantId id, Word found);
    error ConsentWrongAlgorithm(GrantId id, bytes32 found);
    error ConsentTooFewParties(GrantId id, uint256 found, uint8 minParties);
    error ConsentNotJobs(address caller);
    error ConsentNotBreakGlass(address caller);
    error ConsentBadTerms(string what);

    event ConsentGranted(GrantId indexed id, MemberId indexed owner, MemberId indexed grantee, DatasetId datasetId);
    event ConsentUsed(GrantId indexed id, bytes32 indexed job, uint32 used);
    event ConsentRevocation(GrantId indexed id, MemberId indexed owner);
    event ConsentAmendment(GrantId indexed id, GrantId indexed by);

    /// @dev owner = the account of the member that owns the dataset.
    function grantIdFor(address account, uint256 nonce) external view returns (GrantId);
    function digest(Grant calldata terms) external view returns (bytes32);
    /// @notice Records a grant signed by the account of the dataset's owner (or an ERC-1271 account); anyone may relay it.
    /// The purposes are allowed by the consortium now and at each use; "emergency" is for broken glass alone.
    function grant(Grant calldata terms, bytes calldata signature) external returns (GrantId);
    /// @notice Only the contract "breakglass", which has the signatures of two people: the owner's word for the one
    /// purpose "emergency". It amends nothing.
    function grantInEmergency(Grant calldata terms) external returns (GrantId);
    /// @notice By the owner's account.
    function revoke(GrantId id) external;
    /// @notice Relayed: EIP-712 Revocation(bytes32 grantId).
    function revokeBySignature(GrantId id, bytes calldata signature) external;
    /// @notice Only JobRegistry: checks as `requireUsable` and consumes one use. `parties` counts different members.
    function consume(
        GrantId id,
        bytes32 job,
        MemberId grantee,
        DatasetId datasetId,
        uint32 version,
        Word purpose,
        bytes32 algorithm,
        uint256 parties
    ) external;

    function record(GrantId id) external view returns (Record memory);
    function state(GrantId id) external view returns (State);
    /// @notice Reverts with the first reason why the grant does not allow this use now.
    function requireUsable(
        GrantId id,
        MemberId grantee,
        DatasetId datasetId,
        uint32 version,
        Word purpose,
        bytes32 algorithm,
        uint256 parties
    ) external view;
    /// @notice As requireUsable but for a use already consumed: ignores the count of uses (a running job's grant).
    function requireStanding(
        GrantId id,
        MemberId grantee,
        DatasetId datasetId,
        uint32 version,
        Word purpose,
        bytes32 algorithm,
        uint256 parties
    ) external view;
    function grantCount() external view returns (uint256);
    function grants(uint256 offset, uint256 limit) external view returns (GrantId[] memory);
}
