// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {DisputeId, MemberId, Word} from "./Types.sol";

/// @title What one member holds against another, its answer, and what the consortium ruled.
/// @notice Only digests are written here. A ruling changes nothing by itself: what follows from it (a suspension, say)
/// is another action of the same vote.
interface IDisputes {
    enum State {
        None,
        Open,
        Answered,
        Withdrawn,
        Upheld,
        Dismissed
    }

    /// @dev Digests are SHA-256 of documents that the members have elsewhere; 0 and block 0: not yet, or never.
    struct Dispute {
        MemberId claimant;
        MemberId respondent;
        Word about; // "dataset", "job", "model", …: what kind of thing the subject is
        bytes32 subject; // its id or digest; not checked here
        bytes32 evidence;
        bytes32 answer;
        bytes32 reasons;
        uint8 ruling; // 0: none, 1: upheld, 2: dismissed
        uint64 openedAt;
        uint64 answeredAt;
        uint64 withdrawnAt;
        uint64 ruledAt;
    }

    error DisputeUnknown(DisputeId id);
    error DisputeTaken(DisputeId id);
    error DisputeWithOneself(MemberId member);
    error DisputeNotClaimant(DisputeId id, address caller);
    error DisputeNotRespondent(DisputeId id, address caller);
    error DisputeEnded(DisputeId id, State state);
    error DisputeAlreadyAnswered(DisputeId id, uint64 atBlock);
    error DisputeBadRuling(uint8 found);

    event DisputeOpened(
        DisputeId indexed id,
        MemberId indexed claimant,
        MemberId indexed respondent,
        Word about,
        bytes32 subject,
        bytes32 evidence
    );
    event DisputeAnswer(DisputeId indexed id, bytes32 answer);
    event DisputeWithdrawal(DisputeId indexed id);
    event DisputeRuling(DisputeId indexed id, uint8 ruling, bytes32 reasons);

    /// @dev account = the claimant's account.
    function disputeIdFor(address account, uint256 nonce) external view returns (DisputeId);
    /// @notice By the account of an active member, against another member in any standing.
    function open(MemberId respondent, Word about, bytes32 subject, bytes32 evidence, uint256 nonce)
        external
        returns (DisputeId);
    /// @notice Once, by the respondent's account, active or not.
    function answer(DisputeId id, bytes32 answer_) external;
    /// @notice By the claimant's account, active or not.
    function withdraw(DisputeId id) external;
    /// @notice By the authority, answered or not: 1 upheld, 2 dismissed.
    function rule(DisputeId id, uint8 ruling, bytes32 reasons) external;

    function dispute(DisputeId id) external view returns (Dispute memory);
    function state(DisputeId id) external view returns (State);
    function disputeCount() external view returns (uint256);
    function disputes(uint256 offset, uint256 limit) external view returns (DisputeId[] memory);
}
