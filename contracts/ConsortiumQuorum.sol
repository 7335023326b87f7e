// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {IConsortiumGovernor} from "./interfaces/IConsortiumGovernor.sol";
import {IMembership} from "./interfaces/IMembership.sol";

/// @title How many votes decide: two thirds of the members, rounded up, and never fewer than a minimum.
/// @notice A fraction that is rounded down, as the library's, lets one of two members decide.
abstract contract ConsortiumQuorum is IConsortiumGovernor, GovernorVotes {
    using Checkpoints for Checkpoints.Trace208;

    Checkpoints.Trace208 private _minimums; // block -> minimum

    /// @dev Not compared with the members here: a governor is made before the founders are admitted.
    constructor(uint256 minimum) {
        _setMinimum(minimum);
    }

    function quorum(uint256 timepoint) public view override returns (uint256) {
        uint256 twoThirds = Math.ceilDiv(2 * token().getPastTotalSupply(timepoint), 3);
        return Math.max(_minimums.upperLookupRecent(SafeCast.toUint48(timepoint)), twoThirds);
    }

    function quorumMinimum() public view returns (uint256) {
        return _minimums.latest();
    }

    function setQuorumMinimum(uint256 minimum) external onlyGovernance {
        uint256 active = IMembership(address(token())).activeCount();
        if (minimum > active) revert GovernorQuorumMinimumTooHigh(minimum, active);
        _setMinimum(minimum);
    }

    function _setMinimum(uint256 minimum) private {
        emit QuorumMinimumSet(quorumMinimum(), minimum);
        // What stood before is in the event already.
        // slither-disable-next-line unused-return
        _minimums.push(clock(), SafeCast.toUint208(minimum));
    }
}
