// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MemberId, RequestId, SiteId, Word} from "./Types.sol";

/// @title The right to audit: what was asked of a site, what it answered, and that it was silent.
/// @notice Only digests are written here: the request and the pack that answers it are with the two sides.
interface IAuditRequests {
    enum State {
        None,
        Open,
        Silent, // not answered by the deadline, which everybody reads
        Answered,
        AnsweredLate
    }

    /// @dev Digests are SHA-256; block and time 0: not yet, or never.
    struct Request {
        SiteId site; // of which it is asked
        MemberId by;
        SiteId auditor; // the site with the auditor's role that asked; 0: the member's account did
        Word kind; // "period", "dataset", "job", …; not checked here
        bytes32 digest; // of the request
        bytes32 pack; // of the answer
        uint64 filedAt; // block
        uint64 until; // block time, exclusive
        uint64 answeredAt; // block
        uint64 answeredTime; // block time
    }

    error AuditRequestUnknown(RequestId id);
    error AuditRequestTaken(RequestId id);
    error AuditRequestNotAuditor(address caller);
    error AuditRequestOwnSite(SiteId site);
    error AuditRequestNotOperator(RequestId id, address caller);
    error AuditRequestAlreadyAnswered(RequestId id, uint64 atBlock);
    error AuditRequestTooMany(SiteId site, MemberId by, uint256 allowed);
    error AuditRequestZero(string what);

    event AuditRequested(
        RequestId indexed id,
        SiteId indexed site,
        MemberId indexed by,
        SiteId auditor,
        Word kind,
        bytes32 digest,
        uint64 until
    );
    event AuditAnswered(RequestId indexed id, SiteId indexed site, bytes32 pack, bool isLate);

    /// @notice By the account of an active member, or the operator of an active site that has the auditor's role, of a site
    /// of another member. A member and its sites have at most eight pending (neither answered nor overdue) with a site.
    function file(SiteId site, Word kind, bytes32 digest, uint256 nonce) external returns (RequestId);
    /// @notice Once, by the operator of the site, whatever its standing; a late answer counts as late.
    function answer(RequestId id, bytes32 pack) external;

    /// @dev account = who files.
    function requestIdFor(address account, uint256 nonce) external view returns (RequestId);
    function request(RequestId id) external view returns (Request memory);
    function state(RequestId id) external view returns (State);
    /// @notice In which a site answers: the consortium's minimum "audit-seconds", between a day and 90 days; 7 days where
    /// none is set.
    function answerSeconds() external view returns (uint256);
    function requestCount() external view returns (uint256);
    function requests(uint256 offset, uint256 limit) external view returns (RequestId[] memory);
}
