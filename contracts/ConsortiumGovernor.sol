// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {GovernorCountingSimple} from "@openzeppelin/contracts/governance/extensions/GovernorCountingSimple.sol";
import {GovernorPreventLateQuorum} from "@openzeppelin/contracts/governance/extensions/GovernorPreventLateQuorum.sol";
import {GovernorSettings} from "@openzeppelin/contracts/governance/extensions/GovernorSettings.sol";
import {GovernorTimelockControl} from "@openzeppelin/contracts/governance/extensions/GovernorTimelockControl.sol";
import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";

import {ConsortiumQuorum} from "./ConsortiumQuorum.sol";
import {IMembership} from "./interfaces/IMembership.sol";

/// @title How the members decide: a proposal, a vote, a wait, and the act.
/// @notice OpenZeppelin's Governor over the members' votes. It is no proxy: another governor is a vote that moves the
/// timelock's roles, or the consortium's authority, to it. Whoever votes or proposes must be an active member now.
contract ConsortiumGovernor is
    Governor,
    GovernorSettings,
    GovernorCountingSimple,
    GovernorVotes,
    ConsortiumQuorum,
    GovernorPreventLateQuorum,
    GovernorTimelockControl
{
    /// @dev Every node reads every proposal and tries it out: a member that made ever more of them, or ever longer
    /// ones, would leave nobody time for the others, nor for the vote that expels it.
    error GovernorTooManyProposals(address proposer, uint256 limit);
    error GovernorProposalTooLong(uint256 found, uint256 limit);

    struct Recent {
        uint256 count;
        uint256[16] ids; // the newest, in turn
    }

    uint256 private constant MAX_OPEN = 16; // of one proposer whose vote is not over, withdrawn ones too
    uint256 private constant MAX_CALLS = 64;
    uint256 private constant MAX_LENGTH = 256 * 1024; // bytes of all calls and the text

    mapping(uint256 proposalId => bool) private _withdrawn;
    mapping(address proposer => Recent) private _recent;

    /// @param votingDelay_ Blocks between the proposal and the block whose members vote.
    /// @param votingPeriod_ Blocks in which they vote.
    /// @param lateQuorumExtension Blocks that are left, at least, once the quorum is reached.
    constructor(
        IVotes membership,
        TimelockController timelock_,
        uint48 votingDelay_,
        uint32 votingPeriod_,
        uint256 quorumMinimum_,
        uint48 lateQuorumExtension
    )
        Governor("FATE-Chain Governor")
        GovernorSettings(votingDelay_, votingPeriod_, 1)
        GovernorVotes(membership)
        ConsortiumQuorum(quorumMinimum_)
        GovernorPreventLateQuorum(lateQuorumExtension)
        GovernorTimelockControl(timelock_)
    {}

    function withdraw(uint256 proposalId) external {
        address proposer = proposalProposer(proposalId);
        if (msg.sender != proposer) revert GovernorUnableToCancel(proposalId, msg.sender);
        _validateStateBitmap(
            proposalId, _encodeStateBitmap(ProposalState.Pending) | _encodeStateBitmap(ProposalState.Active)
        );
        _withdrawn[proposalId] = true;
        emit ProposalWithdrawn(proposalId, proposer);
        emit ProposalCanceled(proposalId);
    }

    // ------------------------------------------------------------------ who takes part

    /// @dev The votes of the snapshot count, of those who are members still.
    function _castVote(uint256 proposalId, address account, uint8 support, string memory reason, bytes memory params)
        internal
        override
        returns (uint256)
    {
        _requireActive(account);
        return super._castVote(proposalId, account, support, reason, params);
    }

    function _propose(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        string memory description,
        address proposer
    ) internal override returns (uint256) {
        _requireActive(proposer);
        _requireShort(calldatas, description);
        uint256 id = super._propose(targets, values, calldatas, description, proposer);
        _countRecent(proposer, id);
        return id;
    }

    function _requireShort(bytes[] memory calldatas, string memory description) private pure {
        if (calldatas.length > MAX_CALLS) revert GovernorProposalTooLong(calldatas.length, MAX_CALLS);
        uint256 length = bytes(description).length;
        for (uint256 i = 0; i < calldatas.length; ++i) {
            length += calldatas[i].length;
        }
        if (length > MAX_LENGTH) revert GovernorProposalTooLong(length, MAX_LENGTH);
    }

    /// @dev The oldest of the newest ones leaves its place when its vote is over.
    function _countRecent(address proposer, uint256 id) private {
        Recent storage recent = _recent[proposer];
        uint256 place = recent.count % MAX_OPEN;
        uint256 oldest = recent.ids[place];
        if (oldest != 0 && proposalDeadline(oldest) >= clock()) revert GovernorTooManyProposals(proposer, MAX_OPEN);
        recent.count += 1;
        recent.ids[place] = id;
    }

    function _requireActive(address account) private view {
        if (!IMembership(address(token())).isActiveAccount(account)) revert GovernorVoterNotActive(account);
    }

    /// @dev A member has one vote: above one nobody could propose any more, not even another threshold.
    function _setProposalThreshold(uint256 threshold) internal override {
        if (threshold != 1) revert GovernorThresholdIsOne(threshold);
        super._setProposalThreshold(threshold);
    }

    // ------------------------------------------------------------------ where the library's parts meet

    function state(uint256 proposalId)
        public
        view
        override(Governor, GovernorTimelockControl)
        returns (ProposalState)
    {
        return _withdrawn[proposalId] ? ProposalState.Canceled : super.state(proposalId);
    }

    function proposalDeadline(uint256 proposalId)
        public
        view
        override(Governor, GovernorPreventLateQuorum)
        returns (uint256)
    {
        return super.proposalDeadline(proposalId);
    }

    function proposalThreshold() public view override(Governor, GovernorSettings) returns (uint256) {
        return super.proposalThreshold();
    }

    function proposalNeedsQueuing(uint256 proposalId)
        public
        view
        override(Governor, GovernorTimelockControl)
        returns (bool)
    {
        return super.proposalNeedsQueuing(proposalId);
    }

    function _tallyUpdated(uint256 proposalId) internal override(Governor, GovernorPreventLateQuorum) {
        super._tallyUpdated(proposalId);
    }

    function _queueOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint48) {
        return super._queueOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _executeOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) {
        super._executeOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _cancel(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint256) {
        return super._cancel(targets, values, calldatas, descriptionHash);
    }

    function _executor() internal view override(Governor, GovernorTimelockControl) returns (address) {
        return super._executor();
    }
}
