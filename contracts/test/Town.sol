// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAuditAnchor} from "../interfaces/IAuditAnchor.sol";
import {IEquivocations} from "../interfaces/IEquivocations.sol";
import {ISiteRegistry} from "../interfaces/ISiteRegistry.sol";
import {ChallengeId, KeyId, MemberId, SiteId} from "../interfaces/Types.sol";
import {Founded} from "./Founded.sol";
import {Log} from "./Log.sol";
import {VM} from "./Vm.sol";

/// @title Five members who sign each other's heads while they are suspended, reinstated, lose keys and sites.
/// @notice Person n has the site number n - 1; its keys are the persons KEYS + n and BRANCH + n, the second by another site
/// of the same member. The ledger says who stands, and nothing else here asks the contracts that.
contract Town is Founded {
    uint256 private constant PEOPLE = 5;
    uint256 private constant KEYS = 1000;
    uint256 private constant BRANCH = 2000;
    uint256 private constant MOST = 24;

    MemberId[] public members;
    SiteId[] private _sites; // of each person the site, then its branch
    mapping(uint256 person => bool) public isSuspended;
    mapping(uint256 key => bool) public isEnded;
    mapping(uint256 key => SiteId) private _siteOf;

    bytes32[] public leaves; // of the log of person 1
    uint64[] public sizes; // anchored
    mapping(uint64 size => mapping(uint256 person => bool)) public isCounted;
    mapping(uint64 size => uint256) public count;
    uint256 public counted;
    uint256 public refused;

    ChallengeId[] public challenges;
    mapping(ChallengeId id => bool) public isHonest;
    string public wrong;

    constructor() {
        _deploy();
        for (uint256 person = 1; person <= PEOPLE; ++person) {
            members.push(_admit(person));
            _open(_registerSite(person), person, KEYS + person);
            _open(_registerBranch(person), person, BRANCH + person);
        }
        for (uint256 i = 0; i < MOST; ++i) {
            leaves.push(keccak256(abi.encode("leaf", i)));
        }
        anchor(2, 0);
    }

    // ------------------------------------------------------------------ heads and cosignatures

    /// @dev A head of the log of person 1, with whatever cosignatures `who` names: bit n is the key number n.
    function anchor(uint64 more, uint256 who) public {
        uint64 size = head() + 1 + more % 4;
        if (size > MOST) return;
        bytes32[] memory log = _first(size);
        bytes32[] memory proof = head() == 0 ? new bytes32[](0) : Log.consistency(log, head());
        bytes32 root = Log.root(log, 0, size);
        IAuditAnchor.Cosignature[] memory given = _cosignatures(size, root, who);
        VM.prank(_account(1 + NODE));
        try anchors.anchor(_sites[0], size, root, proof, given) {
            sizes.push(size);
            _note(size, who);
        } catch {
            wrong = "an honest head was refused";
        }
    }

    function cosign(uint256 place, uint256 who) external {
        uint64 size = sizes[place % sizes.length];
        uint256 before = count[size];
        _note(size, who);
        try anchors.cosign(_sites[0], size, _cosignatures(size, _root(size), who)) {
            if (count[size] == before) wrong = "something was counted that must not be";
        } catch {
            ++refused;
            if (count[size] != before) wrong = "a good cosignature was refused";
        }
    }

    /// @dev Keys of one person sign anything else: another size, root, time in the future, another log.
    function cosignFalsely(uint256 place, uint256 person, uint256 how) external {
        uint64 size = sizes[place % sizes.length];
        uint64 time = uint64(block.timestamp);
        SiteId site = _sites[how % 4 == 0 ? 2 : 0];
        bytes32 root = how % 4 == 1 ? keccak256("root") : _root(size);
        if (how % 4 == 2) time += 301;
        (bytes32 r, bytes32 vs) =
            _compact(KEYS + 1 + person % PEOPLE, anchors.checkpointDigest(site, size + (how % 4 == 3 ? 1 : 0), root, time));
        IAuditAnchor.Cosignature[] memory given = new IAuditAnchor.Cosignature[](1);
        given[0] = IAuditAnchor.Cosignature(time, r, vs);
        try anchors.cosign(_sites[0], size, given) {
            wrong = "what was signed of something else was counted";
        } catch {
            ++refused;
        }
    }

    // ------------------------------------------------------------------ what ends

    function suspend(uint256 which) external {
        uint256 person = 1 + which % PEOPLE;
        VM.prank(consortium.authority());
        try membership.suspend(members[person - 1]) {
            isSuspended[person] = true;
        } catch {}
    }

    function reinstate(uint256 which) external {
        uint256 person = 1 + which % PEOPLE;
        VM.prank(consortium.authority());
        try membership.reinstate(members[person - 1]) {
            isSuspended[person] = false;
        } catch {}
    }

    /// @dev A branch is retired, or a key of the first site revoked; the last two persons keep theirs.
    function end(uint256 which, bool byKey) external {
        uint256 person = 1 + which % (PEOPLE - 2);
        uint256 key = (byKey ? KEYS : BRANCH) + person;
        if (isEnded[key]) return;
        (, KeyId id) = sites.anchorKey(_account(key));
        VM.prank(_account(person));
        if (byKey) sites.revokeKey(_siteOf[key], id);
        else sites.retire(_siteOf[key]);
        isEnded[key] = true;
    }

    function wait(uint256 blocks) external {
        _pass(1 + blocks % 10_000);
    }

    // ------------------------------------------------------------------ equivocation

    /// @dev Person 1 shows an honest head of any size, which is challenged.
    function challengeHonestly(uint256 size) external {
        _challenge(_signedHead(KEYS + 1, uint64(1 + size % MOST), _root(uint64(1 + size % MOST))), true);
    }

    /// @dev Or another one.
    function challengeForged(uint256 size) external {
        _challenge(_signedHead(KEYS + 1, uint64(1 + size % MOST), keccak256(abi.encode("forged", size))), false);
    }

    /// @dev With the proof that an honest log gives, towards the newest head.
    function answer(uint256 which) external {
        if (challenges.length == 0) return;
        ChallengeId id = challenges[which % challenges.length];
        IEquivocations.Challenge memory asked = equivocations.challengeOf(id);
        bool couldAnswer = asked.size <= head() && isHonest[id] && asked.answeredAt == 0;
        bytes32[] memory proof =
            asked.size < head() ? Log.consistency(_first(head()), asked.size) : new bytes32[](0);
        try equivocations.answerChallenge(id, head(), proof) {
            if (!couldAnswer) wrong = "a challenge was answered that has no answer";
        } catch {
            if (couldAnswer) wrong = "an honest site could not answer";
        }
    }

    function settle(uint256 which) external {
        if (challenges.length == 0) return;
        ChallengeId id = challenges[which % challenges.length];
        IEquivocations.Challenge memory asked = equivocations.challengeOf(id);
        bool isDue = asked.answeredAt == 0 && asked.settledAt == 0 && block.timestamp >= asked.until;
        try equivocations.settle(id) {
            if (!isDue) wrong = "a challenge was settled before its time";
        } catch {
            if (isDue) wrong = "a challenge that is due was not settled";
        }
    }

    /// @dev What honest keys sign, in any pair, convicts nobody.
    function accuse(uint256 a, uint256 b, uint256 signer) external {
        uint64 one = uint64(1 + a % MOST);
        uint64 other = uint64(1 + b % MOST);
        uint256 key = KEYS + 2 + signer % (PEOPLE - 1);
        IEquivocations.Signed memory first = _signedHead(key, one, _root(one));
        IEquivocations.Signed memory second = _signedHead(KEYS + 1, other, keccak256("forged"));
        try equivocations.proveFork(_sites[0], first, second) {
            wrong = "another's signature convicted";
        } catch {}
        try equivocations.proveFork(_sites[0], _signedHead(KEYS + 1, one, _root(one)), _signedHead(KEYS + 1, other, _root(other))) {
            wrong = "an honest log was convicted";
        } catch {}
    }

    // ------------------------------------------------------------------ reading

    function head() public view returns (uint64) {
        return sizes.length == 0 ? 0 : sizes[sizes.length - 1];
    }

    function headCount() external view returns (uint256) {
        return sizes.length;
    }

    function challengeCount() external view returns (uint256) {
        return challenges.length;
    }

    function witnessOf(uint64 size) external view returns (uint256, MemberId[] memory) {
        return anchors.witnessOf(_sites[0], size);
    }

    function headAt(uint64 size) external view returns (IAuditAnchor.Head memory) {
        return anchors.headAt(_sites[0], size);
    }

    function marks() external view returns (IEquivocations.Mark[] memory) {
        return equivocations.marks(_sites[0]);
    }

    function challengeOf(ChallengeId id) external view returns (IEquivocations.Challenge memory) {
        return equivocations.challengeOf(id);
    }

    // ------------------------------------------------------------------ inside

    function _challenge(IEquivocations.Signed memory signed, bool honest) private {
        VM.prank(_account(5));
        try equivocations.challenge(_sites[0], signed) returns (ChallengeId id) {
            challenges.push(id);
            isHonest[id] = honest;
        } catch {}
    }

    function _signedHead(uint256 key, uint64 size, bytes32 root) private view returns (IEquivocations.Signed memory) {
        uint64 time = uint64(block.timestamp);
        (bytes32 r, bytes32 vs) = _compact(key, anchors.checkpointDigest(_sites[0], size, root, time));
        return IEquivocations.Signed(size, root, time, r, vs);
    }

    /// @dev The ledger: a key stands, its member too, and neither was counted nor is the owner.
    function _note(uint64 size, uint256 who) private {
        for (uint256 n = 0; n < 2 * PEOPLE; ++n) {
            if (who & (1 << n) == 0) continue;
            uint256 person = 1 + n / 2;
            bool stands = !isEnded[_key(n)] && !isSuspended[person];
            if (!stands || person == 1 || isCounted[size][person]) continue;
            isCounted[size][person] = true;
            ++count[size];
            ++counted;
        }
    }

    function _cosignatures(uint64 size, bytes32 root, uint256 who)
        private
        view
        returns (IAuditAnchor.Cosignature[] memory given)
    {
        uint256 many = 0;
        for (uint256 n = 0; n < 2 * PEOPLE; ++n) {
            if (who & (1 << n) != 0) ++many;
        }
        given = new IAuditAnchor.Cosignature[](many);
        uint64 time = uint64(block.timestamp);
        bytes32 digest = anchors.checkpointDigest(_sites[0], size, root, time);
        for (uint256 n = 0; n < 2 * PEOPLE; ++n) {
            if (who & (1 << n) == 0) continue;
            (bytes32 r, bytes32 vs) = _compact(_key(n), digest);
            given[--many] = IAuditAnchor.Cosignature(time, r, vs);
        }
    }

    function _key(uint256 n) private pure returns (uint256) {
        return (n % 2 == 0 ? KEYS : BRANCH) + 1 + n / 2;
    }

    function _open(SiteId site, uint256 person, uint256 key) private {
        _sites.push(site);
        _siteOf[key] = site;
        _addAnchorKey(site, person, key);
    }

    function _registerBranch(uint256 person) private returns (SiteId id) {
        uint256 nonce = _fresh();
        id = sites.siteIdFor(_account(person), nonce);
        VM.prank(_account(person));
        sites.register(_account(person), "branch", "https://branch.example", 3, new ISiteRegistry.KeyInput[](0), nonce);
    }

    function _root(uint64 size) private view returns (bytes32) {
        return Log.root(_first(size), 0, size);
    }

    function _first(uint256 size) private view returns (bytes32[] memory log) {
        log = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            log[i] = leaves[i];
        }
    }
}
