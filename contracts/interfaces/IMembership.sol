// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MemberId} from "./Types.sol";

/// @title One soulbound vote per institution (ERC-721 votes, ERC-5192 locked, self-delegated at mint).
/// @notice A member's id is separate from its account, so that recovery keeps its history.
interface IMembership {
    enum Standing {
        None,
        Active,
        Suspended,
        Expelled
    }

    /// @dev blocks: facts; `suspendedAt`/`expelledAt` are 0 where it did not happen.
    struct Member {
        address account;
        string name;
        uint64 admittedAt;
        uint64 suspendedAt;
        uint64 expelledAt;
    }

    error MembershipAccountTaken(address account, MemberId id);
    error MembershipUnknown(MemberId id);
    error MembershipNotActive(MemberId id, Standing standing);
    error MembershipNotSuspended(MemberId id, Standing standing);
    error MembershipNotAMember(address account);
    error MembershipSoulbound();
    error MembershipIdTaken(MemberId id);

    event MemberAdmitted(MemberId indexed id, address indexed account, string name);
    event MemberSuspended(MemberId indexed id);
    event MemberReinstated(MemberId indexed id);
    event MemberExpelled(MemberId indexed id);

    function memberIdFor(address account, uint256 nonce) external view returns (MemberId);
    function admit(address account, string calldata name, uint256 nonce) external returns (MemberId);
    function suspend(MemberId id) external;
    function reinstate(MemberId id) external;
    function expel(MemberId id) external;

    function member(MemberId id) external view returns (Member memory);
    /// @notice The member whose account this is; reverts with MembershipNotAMember.
    function memberOf(address account) external view returns (MemberId);
    function standing(MemberId id) external view returns (Standing);
    /// @notice The standing at the end of a past block, from the facts kept.
    function standingAt(MemberId id, uint64 blockNumber) external view returns (Standing);
    /// @notice Reverts with MembershipNotActive unless active.
    function requireActive(MemberId id) external view;
    /// @notice Reverts unless `account` is the account of an active member; returns it.
    function requireActiveAccount(address account) external view returns (MemberId);
    function memberCount() external view returns (uint256);
    function members(uint256 offset, uint256 limit) external view returns (MemberId[] memory);
}
