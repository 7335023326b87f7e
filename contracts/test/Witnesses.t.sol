// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAuditAnchor} from "../interfaces/IAuditAnchor.sol";
import {IEquivocations} from "../interfaces/IEquivocations.sol";
import {MemberId} from "../interfaces/Types.sol";
import {Town} from "./Town.sol";

/// @title Members in standing are counted, once each, and no honest log is convicted.
contract WitnessesTest {
    Town private _town;

    function setUp() external {
        _town = new Town();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_town);
    }

    function invariant_those_who_stood_are_counted_once() external view {
        require(bytes(_town.wrong()).length == 0, _town.wrong());
        for (uint256 i = 0; i < _town.headCount(); ++i) {
            uint64 size = _town.sizes(i);
            (uint256 count, MemberId[] memory members) = _town.witnessOf(size);
            IAuditAnchor.Head memory head = _town.headAt(size);
            require(count == _town.count(size) && head.cosigners == count && members.length == count, "miscounted");
            for (uint256 a = 0; a < count; ++a) {
                require(_isCounted(size, members[a]), "somebody was counted who must not be");
                for (uint256 b = 0; b < a; ++b) {
                    require(members[a] != members[b], "a member was counted twice");
                }
            }
        }
    }

    /// @dev The only marks are those of challenges that nobody answered in time.
    function invariant_marks_have_evidence() external view {
        require(bytes(_town.wrong()).length == 0, _town.wrong());
        IEquivocations.Mark[] memory marks = _town.marks();
        require(marks.length <= 1, "a key was marked twice");
        if (marks.length == 0) return;
        require(marks[0].kind == IEquivocations.Kind.Unanswered, "a mark of a fork that was not");
        bool isSettled = false;
        for (uint256 i = 0; i < _town.challengeCount(); ++i) {
            isSettled = isSettled || _town.challengeOf(_town.challenges(i)).settledAt == marks[0].atBlock;
        }
        require(isSettled, "a mark without a challenge");
    }

    function test_the_town_counts_forgets_and_marks() external {
        _town.anchor(0, 0x3FF);
        require(_town.count(_town.head()) == 4, "not all were counted");
        _town.suspend(1);
        _town.end(2, true);
        _town.end(2, false);
        _town.anchor(0, 0x3FF);
        require(_town.count(_town.head()) == 2, "who stands no more was counted");
        _town.reinstate(1);
        _town.cosign(_town.headCount() - 1, 0x3FF);
        require(_town.count(_town.head()) == 3, "who stands again was not counted");
        _town.challengeHonestly(0);
        _town.challengeForged(0);
        _town.answer(0);
        _town.answer(1);
        for (uint256 i = 0; i < 9; ++i) {
            _town.wait(9_999);
        }
        _town.settle(0);
        _town.settle(1);
        require(_town.marks().length == 1 && bytes(_town.wrong()).length == 0, _town.wrong());
        this.invariant_those_who_stood_are_counted_once();
        this.invariant_marks_have_evidence();
    }

    function _isCounted(uint64 size, MemberId member) private view returns (bool) {
        for (uint256 person = 1; person <= 5; ++person) {
            if (_town.members(person - 1) == member) return _town.isCounted(size, person);
        }
        return false;
    }
}
