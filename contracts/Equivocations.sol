// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Governed} from "./Governed.sol";
import {ANCHORS, MEMBERSHIP, SITES} from "./Names.sol";
import {IAuditAnchor} from "./interfaces/IAuditAnchor.sol";
import {IEquivocations} from "./interfaces/IEquivocations.sol";
import {IMembership} from "./interfaces/IMembership.sol";
import {ISiteRegistry} from "./interfaces/ISiteRegistry.sol";
import {ChallengeId, KeyId, MemberId, SiteId} from "./interfaces/Types.sol";
import {MerkleLog} from "./libraries/MerkleLog.sol";
import {Pages} from "./libraries/Pages.sol";
import {SignedHead} from "./libraries/SignedHead.sol";

/// @title Sites that told two tales of one log.
/// @notice Facts and their blocks; the state of a challenge is derived from them. Evidence is taken from everybody.
contract Equivocations is IEquivocations, Governed {
    using Pages for bytes32[];

    uint64 private constant ANSWER_TIME = 1 days;
    uint256 private constant MAX_OPEN = 4; // challenges of one member against one site

    /// @custom:storage-location erc7201:fatechain.storage.Equivocations
    struct EquivocationsStorage {
        mapping(SiteId site => Mark[]) marks; // at most one for each of the site's keys
        mapping(address key => bool) marked; // an address is a key of one site in its life
        bytes32[] sites; // that have a mark
        mapping(ChallengeId id => Challenge) challenges;
        bytes32[] list;
        mapping(SiteId site => mapping(MemberId challenger => uint256)) open; // neither answered nor settled
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.Equivocations")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant EQUIVOCATIONS_SLOT = 0xca2ac179a77c446f892849f8728230964695deecc3f6e905a59f09e887187a00;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
    }

    // ------------------------------------------------------------------ what proves itself

    function proveFork(SiteId site, Signed calldata one, Signed calldata other) external {
        (address key, bytes32 digest) = _requireSigned(site, one);
        (address otherKey, bytes32 otherDigest) = _requireSigned(site, other);
        if (one.size != other.size || one.root == other.root) revert EquivocationNone(site, one.size);
        bool isNew = _mark(site, key, Kind.TwoCheckpoints, one.size, digest, otherDigest);
        bool isOtherNew = _mark(site, otherKey, Kind.TwoCheckpoints, one.size, otherDigest, digest);
        if (!isNew && !isOtherNew) revert EquivocationMarkedAlready(site, key);
        emit ForkShown(site, key, one.size, one.root, one.time, other.root, other.time);
    }

    function proveAnchoredFork(SiteId site, Signed calldata signed) external {
        (address key, bytes32 digest) = _requireSigned(site, signed);
        bytes32 anchored = _anchors().headAt(site, signed.size).root;
        if (anchored == signed.root) revert EquivocationNone(site, signed.size);
        if (!_mark(site, key, Kind.AnotherAnchor, signed.size, digest, anchored)) {
            revert EquivocationMarkedAlready(site, key);
        }
        emit AnchoredForkShown(site, key, signed.size, signed.root, signed.time, anchored);
    }

    // ------------------------------------------------------------------ what the site must prove

    function challenge(SiteId site, Signed calldata signed) external returns (ChallengeId id) {
        // What was signed for it is not kept: the site, the size and the root are the id.
        // slither-disable-next-line unused-return
        (address key,) = _requireSigned(site, signed);
        EquivocationsStorage storage $ = _state();
        if ($.marked[key]) revert EquivocationMarkedAlready(site, key);
        if (signed.size == 0) revert EquivocationNone(site, 0); // there is no proof from an empty log
        _requireNotAnchored(site, signed.size);
        id = challengeIdFor(site, signed.size, signed.root);
        if ($.challenges[id].openedAt != 0) revert ChallengeTaken(id);
        MemberId challenger = _speaksFor(msg.sender);
        if ($.open[site][challenger] == MAX_OPEN) revert ChallengeTooMany(site, challenger, MAX_OPEN);

        $.open[site][challenger] += 1;
        Challenge storage made = $.challenges[id];
        made.site = site;
        made.key = key;
        made.size = signed.size;
        made.root = signed.root;
        made.time = signed.time;
        made.challenger = challenger;
        made.openedAt = uint64(block.number);
        made.until = uint64(block.timestamp) + ANSWER_TIME;
        $.list.push(ChallengeId.unwrap(id));
        emit ChallengeOpened(id, site, challenger, key, signed.size, signed.root, signed.time, made.until);
    }

    function answerChallenge(ChallengeId id, uint64 anchoredSize, bytes32[] calldata proof) external {
        Challenge storage found = _known(id);
        if (found.answeredAt != 0) revert ChallengeAlreadyAnswered(id, found.answeredAt);
        if (proof.length > MerkleLog.MAX_PROOF) {
            revert IAuditAnchor.AnchorProofTooLong(proof.length, MerkleLog.MAX_PROOF);
        }
        bytes32 anchored = _anchors().headAt(found.site, anchoredSize).root;
        bool holds = MerkleLog.verifyConsistency(found.root, found.size, anchored, anchoredSize, proof);
        if (!holds) revert ChallengeInconsistent(id, anchoredSize);
        found.answeredAt = uint64(block.number);
        if (found.settledAt == 0) _state().open[found.site][found.challenger] -= 1;
        emit ChallengeAnswered(id, found.site, anchoredSize);
    }

    function settle(ChallengeId id) external {
        Challenge storage found = _known(id);
        if (stateOf(id) != State.Overdue) revert ChallengeNotOverdue(id, found.until);
        found.settledAt = uint64(block.number);
        _state().open[found.site][found.challenger] -= 1;
        bytes32 digest = _anchors().checkpointDigest(found.site, found.size, found.root, found.time);
        _mark(found.site, found.key, Kind.Unanswered, found.size, digest, bytes32(0));
        emit ChallengeSettled(id, found.site);
    }

    // ------------------------------------------------------------------ reading

    function isMarked(SiteId site) external view returns (bool) {
        return _state().marks[site].length != 0;
    }

    function marks(SiteId site) external view returns (Mark[] memory) {
        return _state().marks[site];
    }

    function markedSiteCount() external view returns (uint256) {
        return _state().sites.length;
    }

    function markedSites(uint256 offset, uint256 limit) external view returns (SiteId[] memory page) {
        bytes32[] memory raw = _state().sites.slice(offset, limit);
        assembly ("memory-safe") {
            page := raw
        }
    }

    function challengeIdFor(SiteId site, uint64 size, bytes32 root) public view returns (ChallengeId) {
        return ChallengeId.wrap(keccak256(abi.encode(block.chainid, address(this), site, size, root)));
    }

    function challengeOf(ChallengeId id) external view returns (Challenge memory) {
        return _known(id);
    }

    function stateOf(ChallengeId id) public view returns (State) {
        Challenge storage found = _state().challenges[id];
        if (found.openedAt == 0) return State.None;
        if (found.settledAt != 0) return found.answeredAt == 0 ? State.Settled : State.AnsweredLate;
        if (found.answeredAt != 0) return State.Answered;
        return block.timestamp < found.until ? State.Open : State.Overdue;
    }

    function challengeCount() external view returns (uint256) {
        return _state().list.length;
    }

    function challenges(uint256 offset, uint256 limit) external view returns (ChallengeId[] memory page) {
        bytes32[] memory raw = _state().list.slice(offset, limit);
        assembly ("memory-safe") {
            page := raw
        }
    }

    // ------------------------------------------------------------------ inside

    /// @dev Who signed, and what; the key is or was the site's.
    function _requireSigned(SiteId site, Signed calldata signed) private view returns (address key, bytes32 digest) {
        if (signed.size > MerkleLog.MAX_SIZE) revert EquivocationNone(site, signed.size); // no log has so many entries
        digest = _anchors().checkpointDigest(site, signed.size, signed.root, signed.time);
        key = SignedHead.signer(digest, signed.r, signed.vs);
        (SiteId owner, KeyId id) = _sites().anchorKey(key);
        if (KeyId.unwrap(id) == 0 || owner != site) revert EquivocationNotSigned(site, key);
    }

    function _requireNotAnchored(SiteId site, uint64 size) private view {
        IAuditAnchor anchors = _anchors();
        if (anchors.stateOf(site, size) == IAuditAnchor.State.None) return;
        revert ChallengeAnchored(site, size, anchors.headAt(site, size).root);
    }

    /// @dev False where the key has its mark already.
    function _mark(SiteId site, address key, Kind kind, uint64 size, bytes32 digest, bytes32 other)
        private
        returns (bool)
    {
        EquivocationsStorage storage $ = _state();
        if ($.marked[key]) return false;
        $.marked[key] = true;
        if ($.marks[site].length == 0) $.sites.push(SiteId.unwrap(site));
        uint64 keyUntil = _keyUntil(key);
        bytes32 evidence = keccak256(abi.encode(digest, other));
        $.marks[site].push(Mark(key, kind, size, uint64(block.number), keyUntil, evidence));
        emit SiteMarked(site, key, kind, size, keyUntil, evidence);
        return true;
    }

    function _keyUntil(address account) private view returns (uint64) {
        ISiteRegistry sites = _sites();
        // Whose key it is was asked before.
        // slither-disable-next-line unused-return
        (, KeyId id) = sites.anchorKey(account);
        // slither-disable-next-line unused-return
        (, ISiteRegistry.Key memory found) = sites.key(id);
        return found.untilBlock;
    }

    /// @dev The member in standing for which the account speaks, as its own account or as an operator of its sites.
    function _speaksFor(address account) private view returns (MemberId) {
        IMembership membership = IMembership(_contractOf(MEMBERSHIP));
        if (membership.isActiveAccount(account)) return membership.memberOf(account);
        ISiteRegistry sites = _sites();
        SiteId site = sites.siteOf(account);
        bool isActive = SiteId.unwrap(site) != 0 && sites.isActive(site);
        return isActive ? sites.memberOf(site) : MemberId.wrap(0);
    }

    function _known(ChallengeId id) private view returns (Challenge storage found) {
        found = _state().challenges[id];
        if (found.openedAt == 0) revert ChallengeUnknown(id);
    }

    function _anchors() private view returns (IAuditAnchor) {
        return IAuditAnchor(_contractOf(ANCHORS));
    }

    function _sites() private view returns (ISiteRegistry) {
        return ISiteRegistry(_contractOf(SITES));
    }

    function _state() private pure returns (EquivocationsStorage storage $) {
        assembly {
            $.slot := EQUIVOCATIONS_SLOT
        }
    }
}
