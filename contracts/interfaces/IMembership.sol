// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MemberId} from "./Types.sol";

/// @title One soulbound vote per institution (ERC-721 votes, ERC-5192 locked, self-delegated at mint).
/// @notice A member's id is separate from its account, so that recovery keeps its history. A member holds its vote
/// while it is active and only then: the supply of votes is the number of active members.
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
    error MembershipNotAccepted(address account);
    error MembershipAccountReplaced(address account, address by);
    error MembershipTooFew(uint256 remaining, uint256 minimum);
    error MembershipNotBreakGlass(address caller);
    error MembershipLeavingLater(MemberId id, uint64 from);

    event MemberAdmitted(MemberId indexed id, address indexed account, string name);
    event MemberSuspended(MemberId indexed id);
    event MemberReinstated(MemberId indexed id);
    event MemberExpelled(MemberId indexed id);
    /// @dev `from` is the block time from which it may leave.
    event MemberLeaving(MemberId indexed id, uint64 from);
    event MemberLeft(MemberId indexed id);
    event MemberRecovered(MemberId indexed id, address indexed from, address indexed to);

    function memberIdFor(address account, uint256 nonce) external view returns (MemberId);
    /// @notice By the authority. Nobody becomes a member without knowing.
    /// @param acceptance Signature of the account (or of an ERC-1271 account) over the EIP-712 message
    /// Admission(address account,string name,uint256 nonce); domain: name "FATE-Chain Member", version "1", chain id,
    /// this contract.
    function admit(address account, string calldata name, uint256 nonce, bytes calldata acceptance)
        external
        returns (MemberId);
    /// @notice By the authority. Not below the governor's quorum minimum: no vote could be won any more.
    function suspend(MemberId id) external;
    /// @notice By the book's "breakglass", when a broken glass was not reviewed in time; as `suspend`.
    function suspendUnreviewed(MemberId id) external;
    /// @notice By the authority.
    function reinstate(MemberId id) external;
    /// @notice By the authority. Of an active member not below the governor's quorum minimum.
    function expel(MemberId id) external;
    /// @notice By the member's own account, twice: the first call announces it, the second one, a week later or more, is
    /// as if it was expelled, by its own will. A recovery in between takes the announcement back: whoever stole an account
    /// does not end its member with it.
    function leave() external;
    /// @notice By the authority: the member, active or suspended, gets another account and stays the member it is.
    /// The old account stays taken and speaks for nobody.
    /// @param acceptance As of `admit`, by the new account: Recovery(bytes32 member,address account).
    function recover(MemberId id, address account, bytes calldata acceptance) external;
    /// @notice What `account` signs to be admitted.
    function admissionDigest(address account, string calldata name, uint256 nonce) external view returns (bytes32);
    /// @notice What `account` signs to become the member's account.
    function recoveryDigest(MemberId id, address account) external view returns (bytes32);

    function member(MemberId id) external view returns (Member memory);
    /// @notice The member whose account this is or was; reverts with MembershipNotAMember.
    function memberOf(address account) external view returns (MemberId);
    function standing(MemberId id) external view returns (Standing);
    /// @notice The standing at the end of a past block, from the facts kept.
    function standingAt(MemberId id, uint64 blockNumber) external view returns (Standing);
    /// @notice Reverts with MembershipNotActive unless active.
    function requireActive(MemberId id) external view;
    /// @notice Reverts unless `account` is the account of an active member; returns it. An account that recovery
    /// replaced is refused with MembershipAccountReplaced.
    function requireActiveAccount(address account) external view returns (MemberId);
    /// @notice Whether `account` is the account of an active member now.
    function isActiveAccount(address account) external view returns (bool);
    /// @notice Block time from which the member may leave; 0 where it did not announce it.
    function leavesFrom(MemberId id) external view returns (uint64);
    /// @notice Active members now, which is the supply of votes.
    function activeCount() external view returns (uint256);
    function memberCount() external view returns (uint256);
    function members(uint256 offset, uint256 limit) external view returns (MemberId[] memory);
}
