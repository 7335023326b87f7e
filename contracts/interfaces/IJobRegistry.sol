// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {DatasetId, GrantId, JobId, MemberId, SiteId, Word} from "./Types.sol";

/// @title The life of a job. At most 16 parties and 32 uses of data a job.
interface IJobRegistry {
    /// @dev Allowed moves: Proposed -> Approved | Rejected | Cancelled | Expired; Approved -> Running | Cancelled | Expired;
    /// Running -> Succeeded | Failed | Cancelled | Expired. All others are refused.
    enum State {
        None,
        Proposed,
        Approved,
        Running,
        Succeeded,
        Failed,
        Cancelled,
        Rejected,
        Expired
    }

    struct Party {
        SiteId site;
        Word role; // "guest" | "host" | "arbiter"; exactly one guest, the first party, is the proposer
    }

    /// @dev grant is 0 only where the dataset is owned by the proposer's member.
    struct Use {
        uint8 party; // index into parties; that party's site holds the dataset
        DatasetId datasetId;
        uint32 version;
        GrantId grant;
    }

    struct Proposal {
        bytes32 specification; // SHA-256 of the canonical specification (RFC 8785)
        bytes32 algorithm; // code digest
        Word purpose;
        uint64 deadline; // block time, exclusive: not Running by then or not attested by then -> Expired
        Party[] parties;
        Use[] uses;
        uint256 nonce;
    }

    struct Job {
        SiteId proposer;
        MemberId member;
        bytes32 specification;
        bytes32 algorithm;
        Word purpose;
        uint64 deadline;
        uint64 proposedAt; // blocks; 0: did not happen
        uint64 approvedAt;
        uint64 startedAt;
        uint64 endedAt;
        State state; // as stored; `state(id)` derives Expired
        bytes32 reason; // of a failure, rejection or cancellation: an ASCII word ("ResultMismatch", "WorkerLost") or a digest
        SiteId endedBy;
    }

    error JobUnknown(JobId id);
    error JobTaken(JobId id);
    error JobWrongSpecification(JobId id, bytes32 found, bytes32 proposed);
    error JobWrongState(JobId id, State found, string allowed);
    error JobNotParty(JobId id, SiteId site);
    error JobNotProposer(JobId id, SiteId site);
    error JobAlreadyApproved(JobId id, SiteId site);
    error JobAlreadyAttested(JobId id, SiteId site);
    error JobTooManyParties(uint256 found, uint256 allowed);
    error JobTooManyUses(uint256 found, uint256 allowed);
    error JobDuplicateParty(SiteId site);
    error JobBadParties(string what);
    error JobUseNotHeld(DatasetId datasetId, SiteId holder, SiteId party);
    error JobGrantMissing(DatasetId datasetId, MemberId owner, MemberId grantee);
    error JobDeadlinePassed(JobId id, uint64 deadline);
    error JobDeadlineNotPassed(JobId id, uint64 deadline);
    error JobDeadlineTooFar(uint64 found, uint64 allowed);
    error JobUnexpectedGrant(DatasetId datasetId, GrantId grant);

    event JobProposed(JobId indexed id, SiteId indexed proposer, bytes32 indexed specification, bytes32 algorithm, Word purpose, uint64 deadline);
    event JobPartyAdded(JobId indexed id, SiteId indexed site, Word role);
    event JobApproval(JobId indexed id, SiteId indexed site);
    event JobApproved(JobId indexed id);
    event JobRejected(JobId indexed id, SiteId indexed site, bytes32 reason);
    event JobStarted(JobId indexed id);
    event JobAttested(JobId indexed id, SiteId indexed site, bytes32 indexed result);
    event JobSucceeded(JobId indexed id, bytes32 indexed result);
    event JobFailed(JobId indexed id, SiteId indexed site, bytes32 reason);
    event JobCancelled(JobId indexed id, SiteId indexed site, bytes32 reason);
    event JobExpired(JobId indexed id);

    /// @dev owner = the operator account of the proposing site.
    function jobIdFor(address operator, uint256 nonce) external view returns (JobId);
    /// @notice By the operator of parties[0]. Checks all as `start` does, consumes nothing. The proposer's approval is given
    /// with it. While the consortium's brake is pulled nothing is proposed, approved, started or attested; what ends a job
    /// without a result goes on.
    function propose(Proposal calldata proposal) external returns (JobId);
    /// @notice A party's word on the specification that it read: the digest that was proposed, no other.
    function approve(JobId id, SiteId site, bytes32 specification) external;
    function reject(JobId id, SiteId site, bytes32 reason) external;
    /// @notice By the proposer: checks ALL in this block and consumes one use of each grant.
    function start(JobId id) external;
    /// @notice Each party's word on the result; when all have spoken: equal -> Succeeded, else Failed("ResultMismatch").
    function attest(JobId id, SiteId site, bytes32 result) external;
    /// @notice By any party of a running job.
    function fail(JobId id, SiteId site, bytes32 reason) external;
    /// @notice By any party, before the end (a proposer withdraws, a host stops).
    function cancel(JobId id, SiteId site, bytes32 reason) external;
    /// @notice By anyone after the deadline.
    function expire(JobId id) external;

    function job(JobId id) external view returns (Job memory);
    function state(JobId id) external view returns (State);
    function parties(JobId id) external view returns (Party[] memory);
    function uses(JobId id) external view returns (Use[] memory);
    function approvedAt(JobId id, SiteId site) external view returns (uint64);
    function attestation(JobId id, SiteId site) external view returns (bytes32 result, uint64 atBlock);
    /// @notice Reverts with the first reason why the job may not run now: the brake, a member that does not stand or lacks an
    /// attestation, a site, dataset, grant, algorithm or purpose that does not stand.
    /// For a Running job the uses are already consumed and are not counted again.
    function requireRunnable(JobId id) external view;
    function jobCount() external view returns (uint256);
    function jobs(uint256 offset, uint256 limit) external view returns (JobId[] memory);
}
