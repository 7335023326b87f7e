// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MemberId} from "./Types.sol";

/// @title The consortium's emergency brake: some members together stop new work for a while.
/// @notice It stops proposing, approving, starting and attesting of jobs. It ends by itself, and what takes away (a
/// revocation, a cancellation, an expiry) is never stopped.
interface IBrake {
    error BrakePulled(uint64 until);
    error BrakeNotPulled();
    error BrakeResting(MemberId member, uint64 until);

    /// @dev `voices` stand now, `needed` pull the brake.
    event BrakeVoiced(MemberId indexed member, bytes32 reason, uint256 voices, uint256 needed);
    event BrakePaused(uint64 until);
    /// @dev `until` is when the pause would have ended: what a vote does is the same whenever it is carried out.
    event BrakeReleased(uint64 until);

    /// @notice By the account of an active member: a voice that stands for an hour; a second one of the same member
    /// renews it. The last voice that is needed pulls the brake and uses up all voices. Whoever's voice did so raises none
    /// for a week after the pause, released or not (BrakeResting): the same few do not stop work for longer than a pause.
    /// @param reason SHA-256 of a text that the members have elsewhere; not checked here.
    function pull(bytes32 reason) external;
    /// @notice By the authority, before its time.
    function release() external;

    function isPaused() external view returns (bool);
    /// @notice Block time until which work is or was stopped, exclusive; 0 where it never was.
    function pausedUntil() external view returns (uint64);
    /// @notice Reverts with BrakePulled while work is stopped.
    function requireReleased() external view;
    /// @notice Members whose voices stand now: given within the last hour, still active, not yet used.
    function voices() external view returns (MemberId[] memory);
    /// @notice Block time until which this member's voice rests, exclusive; 0: it never pulled the brake.
    function restsUntil(MemberId member) external view returns (uint64);
    /// @notice max(2, the consortium's minimum "pause-members").
    function membersNeeded() external view returns (uint256);
    /// @notice Of a pause: the consortium's minimum "pause-seconds" (24 hours where none is set), 7 days at most.
    function pauseSeconds() external view returns (uint256);
}
