// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ChallengeId, MemberId, SiteId} from "./Types.sol";

/// @title Sites that told two tales of one log, shown by what they signed.
/// @notice A mark is evidence that all can see. It moves no rights; what follows from it is the members' vote. The `time`
/// in a checkpoint is the signer's word, and decides nothing here.
interface IEquivocations {
    enum Kind {
        None,
        TwoCheckpoints, // two roots of one size, both signed
        AnotherAnchor, // a root signed, another one anchored at that size
        Unanswered // a checkpoint was not proved consistent with an anchored head in time
    }

    enum State {
        None,
        Open,
        Overdue, // whoever likes settles it
        Answered,
        Settled, // the key is marked
        AnsweredLate // settled, and proved consistent after that
    }

    /// @dev A checkpoint and its EIP-712 signature, as AuditAnchor's Cosignature, by an "anchor" key of the site itself.
    struct Signed {
        uint64 size;
        bytes32 root;
        uint64 time;
        bytes32 r;
        bytes32 vs;
    }

    /// @dev One for each key: what it was shown to have signed first. `keyUntil`: the block in which the key had ended
    /// before that, 0 where it stood; a key that ended may have been in others' hands.
    struct Mark {
        address key;
        Kind kind;
        uint64 size;
        uint64 atBlock;
        uint64 keyUntil;
        bytes32 evidence; // keccak256(abi.encode(checkpointDigest, the other checkpointDigest or anchored root or 0))
    }

    struct Challenge {
        SiteId site;
        address key;
        uint64 size;
        bytes32 root;
        uint64 time;
        MemberId challenger; // 0: somebody who speaks for no member in standing
        uint64 openedAt; // block
        uint64 until; // block time, exclusive
        uint64 answeredAt; // block; 0: not answered
        uint64 settledAt; // block; 0: not settled
    }

    error EquivocationNotSigned(SiteId site, address signer);
    error EquivocationNone(SiteId site, uint64 size); // also of what was signed of more than 2^53 - 1 entries
    error EquivocationMarkedAlready(SiteId site, address key);
    error ChallengeUnknown(ChallengeId id);
    error ChallengeTaken(ChallengeId id);
    error ChallengeAnchored(SiteId site, uint64 size, bytes32 anchored);
    error ChallengeTooMany(SiteId site, MemberId challenger, uint256 allowed);
    error ChallengeInconsistent(ChallengeId id, uint64 anchoredSize);
    error ChallengeAlreadyAnswered(ChallengeId id, uint64 atBlock);
    error ChallengeNotOverdue(ChallengeId id, uint64 until);

    event SiteMarked(
        SiteId indexed site, address indexed key, Kind indexed kind, uint64 size, uint64 keyUntil, bytes32 evidence
    );
    /// @dev The signatures are in the transaction.
    event ForkShown(
        SiteId indexed site, address indexed key, uint64 size, bytes32 root, uint64 time, bytes32 other, uint64 otherTime
    );
    event AnchoredForkShown(
        SiteId indexed site, address indexed key, uint64 size, bytes32 root, uint64 time, bytes32 anchored
    );
    event ChallengeOpened(
        ChallengeId indexed id,
        SiteId indexed site,
        MemberId indexed challenger,
        address key,
        uint64 size,
        bytes32 root,
        uint64 time,
        uint64 until
    );
    event ChallengeAnswered(ChallengeId indexed id, SiteId indexed site, uint64 anchoredSize);
    event ChallengeSettled(ChallengeId indexed id, SiteId indexed site);

    /// @notice By anyone: two checkpoints of one size with different roots, both signed by "anchor" keys that the site has
    /// or had. Both keys are marked where they are two.
    function proveFork(SiteId site, Signed calldata one, Signed calldata other) external;
    /// @notice By anyone: a checkpoint of a size that the site anchored with another root.
    function proveAnchoredFork(SiteId site, Signed calldata signed) external;
    /// @notice By anyone: a signed checkpoint of a size that is not anchored. Within a day of block time somebody proves it
    /// consistent with an anchored head of at least this size, which the site may have to anchor first. A member in
    /// standing (its account, or an operator of its active sites) has at most four open ones against a site, all others
    /// together four: nobody uses up the challenges of another. A checkpoint is challenged once.
    function challenge(SiteId site, Signed calldata signed) external returns (ChallengeId);
    /// @notice By anyone. `proof`: RFC 6962 consistency from the checkpoint to the head anchored at `anchoredSize`, empty
    /// where that is its own size. It counts after the deadline too, and undoes no mark.
    function answerChallenge(ChallengeId id, uint64 anchoredSize, bytes32[] calldata proof) external;
    /// @notice By anyone once it is overdue and unanswered: the key is marked.
    function settle(ChallengeId id) external;

    function isMarked(SiteId site) external view returns (bool);
    /// @notice In the order in which they were made; empty where there is none.
    function marks(SiteId site) external view returns (Mark[] memory);
    function markedSiteCount() external view returns (uint256);
    function markedSites(uint256 offset, uint256 limit) external view returns (SiteId[] memory);
    /// @notice keccak256(abi.encode(chain id, this contract, site, size, root)).
    function challengeIdFor(SiteId site, uint64 size, bytes32 root) external view returns (ChallengeId);
    function challengeOf(ChallengeId id) external view returns (Challenge memory);
    function stateOf(ChallengeId id) external view returns (State);
    function challengeCount() external view returns (uint256);
    function challenges(uint256 offset, uint256 limit) external view returns (ChallengeId[] memory);
}
