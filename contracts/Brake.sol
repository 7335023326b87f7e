// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Governed} from "./Governed.sol";
import {MEMBERSHIP, PAUSE_MEMBERS, PAUSE_SECONDS} from "./Names.sol";
import {IBrake} from "./interfaces/IBrake.sol";
import {IMembership} from "./interfaces/IMembership.sol";
import {MemberId} from "./interfaces/Types.sol";

/// @title The consortium's emergency brake.
/// @notice A vote takes days; some members together stop new work at once, and only for a while.
contract Brake is IBrake, Governed {
    uint256 private constant VOICE_SECONDS = 1 hours;
    uint256 private constant LEAST_MEMBERS = 2;
    uint256 private constant USUAL_SECONDS = 24 hours;
    uint256 private constant MOST_SECONDS = 7 days;
    uint64 private constant REST_SECONDS = 7 days;

    struct Voice {
        MemberId member;
        uint64 until; // block time, exclusive
    }

    /// @custom:storage-location erc7201:fatechain.storage.Brake
    struct BrakeStorage {
        Voice[] voices; // one per member
        uint64 pausedUntil;
        mapping(MemberId member => uint64) restsUntil; // block time, exclusive
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.Brake")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant BRAKE_SLOT = 0x3288c27a602be9bf3829625187f086525ead1f12ab2a78627875f7ea9e8b1b00;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
    }

    function pull(bytes32 reason) external {
        MemberId caller = _membership().requireActiveAccount(msg.sender);
        requireReleased();
        uint64 rests = _state().restsUntil[caller];
        if (block.timestamp < rests) revert BrakeResting(caller, rests);
        _raise(caller);
        MemberId[] memory standing = voices();
        uint256 needed = membersNeeded();
        emit BrakeVoiced(caller, reason, standing.length, needed);
        if (standing.length >= needed) _pause(standing);
    }

    function release() external onlyAuthority {
        if (!isPaused()) revert BrakeNotPulled();
        emit BrakeReleased(_state().pausedUntil);
        _state().pausedUntil = uint64(block.timestamp);
    }

    function isPaused() public view returns (bool) {
        return block.timestamp < _state().pausedUntil;
    }

    function pausedUntil() external view returns (uint64) {
        return _state().pausedUntil;
    }

    function requireReleased() public view {
        if (isPaused()) revert BrakePulled(_state().pausedUntil);
    }

    function voices() public view returns (MemberId[] memory standing) {
        Voice[] storage all = _state().voices;
        IMembership membership = _membership();
        standing = new MemberId[](all.length);
        uint256 count;
        for (uint256 i = 0; i < all.length; ++i) {
            bool counts = block.timestamp < all[i].until
                && membership.standing(all[i].member) == IMembership.Standing.Active;
            if (counts) standing[count++] = all[i].member;
        }
        assembly ("memory-safe") {
            mstore(standing, count)
        }
    }

    function restsUntil(MemberId member) external view returns (uint64) {
        return _state().restsUntil[member];
    }

    function membersNeeded() public view returns (uint256) {
        return Math.max(LEAST_MEMBERS, _consortium().minimum(PAUSE_MEMBERS));
    }

    function pauseSeconds() public view returns (uint256) {
        uint256 set = _consortium().minimum(PAUSE_SECONDS);
        return set == 0 ? USUAL_SECONDS : Math.min(set, MOST_SECONDS);
    }

    function _pause(MemberId[] memory by) private {
        BrakeStorage storage $ = _state();
        delete $.voices;
        $.pausedUntil = uint64(block.timestamp + pauseSeconds());
        for (uint256 i = 0; i < by.length; ++i) {
            $.restsUntil[by[i]] = $.pausedUntil + REST_SECONDS;
        }
        emit BrakePaused($.pausedUntil);
    }

    /// @dev A member has one voice: the list is never longer than there are members.
    function _raise(MemberId caller) private {
        Voice[] storage all = _state().voices;
        uint64 until = uint64(block.timestamp + VOICE_SECONDS);
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i].member == caller) {
                all[i].until = until;
                return;
            }
        }
        all.push(Voice(caller, until));
    }

    function _membership() private view returns (IMembership) {
        return IMembership(_contractOf(MEMBERSHIP));
    }

    function _state() private pure returns (BrakeStorage storage $) {
        assembly {
            $.slot := BRAKE_SLOT
        }
    }
}
