// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {GovernorCountingSimple} from "@openzeppelin/contracts/governance/extensions/GovernorCountingSimple.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";

import {IMembership} from "../interfaces/IMembership.sol";
import {MemberId} from "../interfaces/Types.sol";
import {Electorate} from "./Electorate.sol";
import {VM} from "./Vm.sol";

/// @title Whatever the members do: votes are members, and nothing is decided but by them.
contract GovernanceTest {
    Electorate private _electorate;

    function setUp() external {
        _electorate = new Electorate();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_electorate);
    }

    /// @dev One campaign asks all: four would play the same games four times.
    function invariant_votes_are_members_and_decisions_are_votes() external {
        require(bytes(_electorate.wrong()).length == 0, _electorate.wrong());
        (IMembership membership, IGovernor governor, uint256 blockNumber) = _electorate.book();
        VM.roll(blockNumber);
        _checkMembers(membership);
        _checkAccounts(membership);
        _checkBallots(membership, governor, blockNumber);
    }

    function test_the_electorate_carries_something_out() external {
        _electorate.propose(1, 3, 4);
        _electorate.carry(0);
        _electorate.queue(0);
        _electorate.wait(1 hours);
        _electorate.execute(0);
        require(_electorate.executions() == 1 && _electorate.quorumMinimum() == 4, _electorate.wrong());
    }

    function _checkMembers(IMembership membership) private view {
        uint256 active = 0;
        for (uint256 i = 0; i < _electorate.memberCount(); ++i) {
            MemberId id = _electorate.members(i);
            IMembership.Member memory member = membership.member(id);
            bool isActive = _checkFacts(membership, id, member);
            if (isActive) ++active;
            require(_votes(membership, member.account) == (isActive ? 1 : 0), "a vote without standing, or none");
        }
        require(membership.activeCount() == active, "the supply is not the active members");
        require(active >= _electorate.quorumMinimum(), "fewer members than the quorum");
    }

    function _checkAccounts(IMembership membership) private view {
        for (uint256 person = 1; person <= _electorate.PERSONS(); ++person) {
            address account = _electorate.accountOf(person);
            uint256 expected = membership.isActiveAccount(account) ? 1 : 0;
            require(_votes(membership, account) == expected, "votes");
            require(IERC721(address(membership)).balanceOf(account) == expected, "tokens");
        }
    }

    function _checkBallots(
        IMembership membership,
        IGovernor governor,
        uint256 blockNumber
    ) private view {
        for (uint256 i = 0; i < _electorate.motionCount(); ++i) {
            (uint256 id,,,,,,) = _electorate.motions(i);
            uint256 snapshot = governor.proposalSnapshot(id);
            if (snapshot >= blockNumber) continue;
            uint256 supply = IVotes(address(membership)).getPastTotalSupply(snapshot);
            (uint256 against, uint256 inFavour, uint256 abstaining) =
                GovernorCountingSimple(payable(address(governor))).proposalVotes(id);
            require(against + inFavour + abstaining <= supply, "more ballots than members");
            require(3 * governor.quorum(snapshot) >= 2 * supply, "a quorum below two thirds");
        }
    }

    /// @dev The standing that is told is the one that the facts make, and no fact is without its standing.
    function _checkFacts(IMembership membership, MemberId id, IMembership.Member memory member)
        private
        view
        returns (bool)
    {
        IMembership.Standing expected = IMembership.Standing.Active;
        if (member.suspendedAt != 0) expected = IMembership.Standing.Suspended;
        if (member.expelledAt != 0) expected = IMembership.Standing.Expelled;
        require(member.admittedAt != 0 && membership.standing(id) == expected, "standing is not what the facts say");
        return expected == IMembership.Standing.Active;
    }

    function _votes(IMembership membership, address account) private view returns (uint256) {
        return IVotes(address(membership)).getVotes(account);
    }
}
