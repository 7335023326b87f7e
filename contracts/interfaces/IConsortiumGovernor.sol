// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @title What the consortium's governor has beyond OpenZeppelin's IGovernor.
interface IConsortiumGovernor {
    error GovernorVoterNotActive(address voter);
    error GovernorQuorumMinimumTooHigh(uint256 minimum, uint256 active);
    error GovernorThresholdIsOne(uint256 found);

    event QuorumMinimumSet(uint256 from, uint256 to);
    event ProposalWithdrawn(uint256 indexed proposalId, address indexed proposer);

    /// @notice The fewest votes (for or abstaining) that a proposal made now will need, however few members there are.
    function quorumMinimum() external view returns (uint256);
    /// @notice By a vote; not above the number of active members. Proposals keep the minimum of their snapshot.
    function setQuorumMinimum(uint256 minimum) external;
    /// @notice By the proposer, before or during the vote; for ever.
    function withdraw(uint256 proposalId) external;
}
