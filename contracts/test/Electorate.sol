// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";

import {IMembership} from "../interfaces/IMembership.sol";
import {MemberId, Word} from "../interfaces/Types.sol";
import {Founded} from "./Founded.sol";
import {VM} from "./Vm.sol";

/// @title Eight persons who propose, vote, leave, come and go in any order, and what is remembered of it.
/// @notice Members are moved in two ways: by proposals that run their whole course, and at once in the timelock's name,
/// so that the electorate also changes while proposals run.
contract Electorate is Founded {
    uint256 public constant PERSONS = 8;
    uint256 private constant FOUNDERS = 5;

    struct Motion {
        uint256 id;
        address target;
        bytes data;
        bytes32 description;
        uint256 proposer;
        bool withdrawn;
        uint256 quorum; // as first read
    }

    MemberId[] public members;
    Motion[] public motions;
    uint256 public ballots;
    uint256 public executions;
    string public wrong; // what must not happen and did

    mapping(uint256 motion => mapping(uint256 person => bool)) private _voted;
    uint256 private _time;
    uint256 private _block;

    constructor() {
        _deploy();
        for (uint256 person = 1; person <= FOUNDERS; ++person) {
            members.push(_admit(person));
        }
        _handOver();
        _remember();
    }

    /// @dev Whether the time of one call is that of the next is the engine's choice: it is kept here.
    modifier timed() {
        VM.warp(_time);
        VM.roll(_block);
        _;
        _remember();
    }

    // ------------------------------------------------------------------ time

    function pass(uint256 blocks) external timed {
        _pass(1 + blocks % 12);
    }

    function wait(uint256 time) external timed {
        VM.warp(block.timestamp + time % (2 * TIMELOCK_DELAY));
    }

    // ------------------------------------------------------------------ members, in the timelock's name

    function admit(uint256 person) external timed {
        person = _person(person);
        try membership.memberOf(_account(person)) {}
        catch {
            members.push(_admit(person));
        }
    }

    function suspend(uint256 member) external timed {
        _asTimelock(abi.encodeCall(membership.suspend, (_member(member))));
    }

    function reinstate(uint256 member) external timed {
        _asTimelock(abi.encodeCall(membership.reinstate, (_member(member))));
    }

    function expel(uint256 member) external timed {
        _asTimelock(abi.encodeCall(membership.expel, (_member(member))));
    }

    function recover(uint256 member, uint256 person) external timed {
        MemberId id = _member(member);
        person = _person(person);
        bytes memory acceptance = _signed(person, membership.recoveryDigest(id, _account(person)));
        _asTimelock(abi.encodeCall(membership.recover, (id, _account(person), acceptance)));
    }

    function leave(uint256 person) external timed {
        address account = _account(_person(person));
        VM.prank(account);
        try membership.leave() {
            VM.warp(block.timestamp + (person % 3) * 4 days); // too soon, too soon, late enough
        } catch {}
        VM.prank(account);
        try membership.leave() {} catch {}
    }

    // ------------------------------------------------------------------ motions

    function propose(uint256 person, uint256 kind, uint256 about) external timed {
        person = _person(person);
        (address target, bytes memory data) = _what(kind, about);
        string memory description = string(abi.encode(motions.length));
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = _lists(target, data);
        bool may = membership.isActiveAccount(_account(person));
        VM.prank(_account(person));
        try governor.propose(targets, values, calls, description) returns (uint256 id) {
            if (!may) wrong = "somebody proposed without standing";
            motions.push(Motion(id, target, data, keccak256(bytes(description)), person, false, 0));
        } catch {}
    }

    function vote(uint256 motion, uint256 person, uint256 support) external timed {
        if (motions.length == 0) return;
        Motion storage found = _motion(motion);
        person = _person(person);
        address account = _account(person);
        bool may = membership.isActiveAccount(account);
        VM.prank(account);
        try governor.castVote(found.id, uint8(support % 3)) returns (uint256 weight) {
            if (!may) wrong = "somebody voted without standing";
            if (weight > 1) wrong = "somebody had more than one vote";
            if (_voted[found.id][person]) wrong = "somebody voted twice";
            _voted[found.id][person] = true;
            ++ballots;
        } catch {}
    }

    /// @dev All who may vote say yes: without it random votes hardly ever reach a quorum.
    function carry(uint256 motion) external timed {
        if (motions.length == 0) return;
        Motion storage found = _motion(motion);
        uint256 snapshot = governor.proposalSnapshot(found.id);
        _rollTo(snapshot + 1);
        for (uint256 person = 1; person <= PERSONS; ++person) {
            VM.prank(_account(person));
            try governor.castVote(found.id, 1) returns (uint256) {
                _voted[found.id][person] = true;
                ++ballots;
            } catch {}
        }
        _rollTo(governor.proposalDeadline(found.id) + 1);
    }

    function withdraw(uint256 motion, uint256 person) external timed {
        if (motions.length == 0) return;
        Motion storage found = _motion(motion);
        person = _person(person);
        VM.prank(_account(person));
        try governor.withdraw(found.id) {
            if (person != found.proposer) wrong = "somebody withdrew another's proposal";
            found.withdrawn = true;
        } catch {}
    }

    function queue(uint256 motion) external timed {
        if (motions.length == 0) return;
        Motion storage found = _motion(motion);
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = _lists(found.target, found.data);
        try governor.queue(targets, values, calls, found.description) {
            _checkWon(found);
        } catch {}
    }

    function execute(uint256 motion) external timed {
        if (motions.length == 0) return;
        Motion storage found = _motion(motion);
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = _lists(found.target, found.data);
        uint256 eta = governor.proposalEta(found.id);
        try governor.execute(targets, values, calls, found.description) {
            if (eta == 0 || block.timestamp < eta) wrong = "something was carried out before its time";
            _checkWon(found);
            ++executions;
            _learn();
        } catch {}
    }

    // ------------------------------------------------------------------ reading

    function memberCount() external view returns (uint256) {
        return members.length;
    }

    function motionCount() external view returns (uint256) {
        return motions.length;
    }

    function book() external view returns (IMembership, IGovernor, uint256 blockNumber) {
        return (membership, IGovernor(address(governor)), _block);
    }

    function quorumMinimum() external view returns (uint256) {
        return governor.quorumMinimum();
    }

    function accountOf(uint256 person) external pure returns (address) {
        return _account(person);
    }

    // ------------------------------------------------------------------ inside

    function _checkWon(Motion storage found) private {
        (uint256 against, uint256 inFavour, uint256 abstaining) = governor.proposalVotes(found.id);
        if (inFavour <= against) wrong = "a proposal won without a majority";
        if (inFavour + abstaining < governor.quorum(governor.proposalSnapshot(found.id))) {
            wrong = "a proposal won without a quorum";
        }
        if (found.withdrawn) wrong = "a proposal went on that was withdrawn";
    }

    /// @dev The quorum of a proposal is that of its snapshot for ever.
    function _remember() private {
        _time = block.timestamp;
        _block = block.number;
        for (uint256 i = 0; i < motions.length; ++i) {
            uint256 snapshot = governor.proposalSnapshot(motions[i].id);
            if (_block <= snapshot) continue;
            uint256 quorum = governor.quorum(snapshot);
            if (motions[i].quorum != 0 && motions[i].quorum != quorum) wrong = "a running proposal's quorum changed";
            motions[i].quorum = quorum;
        }
    }

    /// @dev A proposal may have admitted somebody.
    function _learn() private {
        for (uint256 i = members.length; i < membership.memberCount(); ++i) {
            members.push(membership.members(i, 1)[0]);
        }
    }

    function _what(uint256 kind, uint256 about) private returns (address, bytes memory) {
        kind = kind % 6;
        if (kind == 0) return (address(membership), abi.encodeCall(membership.suspend, (_member(about))));
        if (kind == 1) return (address(membership), abi.encodeCall(membership.reinstate, (_member(about))));
        if (kind == 2) return (address(membership), abi.encodeCall(membership.expel, (_member(about))));
        if (kind == 3) return (address(governor), abi.encodeCall(governor.setQuorumMinimum, (about % 10)));
        if (kind == 4) return (address(consortium), abi.encodeCall(consortium.setMinimum, (Word.wrap("rows"), about)));
        address account = _account(_person(about));
        uint256 nonce = _fresh();
        bytes memory acceptance = _signed(_person(about), membership.admissionDigest(account, "voted", nonce));
        return (address(membership), abi.encodeCall(membership.admit, (account, "voted", nonce, acceptance)));
    }

    /// @dev Never back.
    function _rollTo(uint256 blockNumber) private {
        if (block.number < blockNumber) VM.roll(blockNumber);
    }

    function _asTimelock(bytes memory data) private {
        VM.prank(address(timelock));
        (bool done,) = address(membership).call(data);
        done; // what is refused is refused
    }

    function _lists(address target, bytes memory data)
        private
        pure
        returns (address[] memory targets, uint256[] memory values, bytes[] memory calls)
    {
        targets = new address[](1);
        values = new uint256[](1);
        calls = new bytes[](1);
        targets[0] = target;
        calls[0] = data;
    }

    function _person(uint256 seed) private pure returns (uint256) {
        return 1 + seed % PERSONS;
    }

    function _member(uint256 seed) private view returns (MemberId) {
        return members[seed % members.length];
    }

    function _motion(uint256 seed) private view returns (Motion storage) {
        return motions[seed % motions.length];
    }
}
