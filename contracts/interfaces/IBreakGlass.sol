// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IConsentRegistry} from "./IConsentRegistry.sol";
import {GrantId, MemberId} from "./Types.sol";

/// @title Access in an emergency: two people of the data's owner open it for hours, the consortium reviews it by vote.
interface IBreakGlass {
    enum State {
        None,
        Unreviewed,
        Overdue,
        Lapsed,
        Reviewed
    }

    /// @dev Its id is that of the grant that it opened.
    struct Emergency {
        MemberId owner;
        address first;
        address second;
        bytes32 purpose; // digest of why, in words kept off the chain
        uint64 openedAt; // block
        uint64 until; // block time at which the grant ends
        uint64 reviewBy; // block time
        uint64 reviewedAt; // block; 0: not reviewed
        uint64 lapsedAt; // block; 0: did not lapse
        bool justified; // the ruling, once reviewed
        bytes32 reasons; // digest of the ruling's reasons
    }

    error BreakGlassUnknown(bytes32 id);
    error BreakGlassSamePerson(address person);
    error BreakGlassNotAppointed(address person, MemberId owner);
    error BreakGlassBadSignature(address person);
    error BreakGlassTooLong(uint64 found, uint64 allowed);
    error BreakGlassAlreadyReviewed(bytes32 id, uint64 atBlock);
    error BreakGlassAlreadyLapsed(bytes32 id, uint64 atBlock);
    error BreakGlassNotOverdue(bytes32 id, uint64 reviewBy);
    error BreakGlassOwing(MemberId owner, uint256 reviews);

    event BreakGlassOpened(
        bytes32 indexed id,
        MemberId indexed owner,
        GrantId indexed grant,
        address first,
        address second,
        bytes32 purpose,
        uint64 until,
        uint64 reviewBy
    );
    event BreakGlassReviewed(bytes32 indexed id, MemberId indexed owner, bool justified, bytes32 reasons);
    event BreakGlassLapsed(bytes32 indexed id, MemberId indexed owner);

    /// @notice What each of the two signs: EIP-712 BreakGlass(bytes32 grantDigest,bytes32 purpose), domain
    /// "FATE-Chain BreakGlass", version "1", where grantDigest is ConsentRegistry.digest(terms).
    function digest(IConsentRegistry.Grant calldata terms, bytes32 purpose) external view returns (bytes32);
    /// @notice Grants at once what two different people, appointed by the member that owns the dataset (Reviews), signed:
    /// for at most 72 hours, for the purpose "emergency". Relayed by anyone. Refused with BreakGlassOwing while an emergency
    /// of that member has lapsed and was not reviewed since.
    /// @return id The grant's id.
    function open(
        IConsentRegistry.Grant calldata terms,
        address first,
        bytes calldata firstSignature,
        address second,
        bytes calldata secondSignature,
        bytes32 purpose
    ) external returns (bytes32 id);
    /// @notice By the authority: the vote that every emergency needs within 7 days. A late one counts, but undoes no lapse.
    function review(bytes32 id, bool justified, bytes32 reasons) external;
    /// @notice By anyone once the review is overdue: the owner is suspended, unless it is not active anyway or no vote could
    /// be won without it (MembershipTooFew), and opens no other emergency until this one is reviewed.
    function lapse(bytes32 id) external;

    function emergency(bytes32 id) external view returns (Emergency memory);
    function state(bytes32 id) external view returns (State);
    /// @notice How many emergencies of the member lapsed and were not reviewed since.
    function owing(MemberId owner) external view returns (uint256);
    function emergencyCount() external view returns (uint256);
    function emergencies(uint256 offset, uint256 limit) external view returns (bytes32[] memory);
}
