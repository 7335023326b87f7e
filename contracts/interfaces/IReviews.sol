// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MemberId} from "./Types.sol";

/// @title Who read the code of an algorithm before the consortium lets it run: four eyes of two other members.
/// @notice A review says that a named person of a named member read the code and put a report behind it. It does not
/// say that the code is right.
interface IReviews {
    struct Submission {
        MemberId author;
        string name;
        uint64 fromBlock;
    }

    /// @dev The EIP-712 message has a last field more: uint256 nonce, the person's `nonces` when it is relayed.
    /// Domain: name "FATE-Chain Reviews", version "1", chain id, this contract.
    struct Review {
        bytes32 codeDigest;
        address person;
        bool approves;
        bytes32 report; // SHA-256 of the report, which the members have elsewhere
    }

    /// @dev A person's last word on a code digest, and the member that the person spoke for when it was given.
    struct Opinion {
        address person;
        MemberId member;
        bool approves;
        bytes32 report;
        uint64 atBlock;
    }

    error ReviewsTaken(bytes32 codeDigest);
    error ReviewsNotSubmitted(bytes32 codeDigest);
    error ReviewsTooFew(bytes32 codeDigest, uint256 found, uint256 required);
    error ReviewsTooMany(uint256 found, uint256 allowed);
    error ReviewsNameTooLong(uint256 found, uint256 allowed);
    error ReviewsPersonTaken(address person, MemberId member);
    error ReviewsNotAppointed(address person);
    error ReviewsNotDismissable(address person, address caller);
    error ReviewsBadSignature(address person);

    event CodeSubmitted(bytes32 indexed codeDigest, MemberId indexed author, string name);
    event PersonAppointed(MemberId indexed member, address indexed person);
    event PersonDismissed(MemberId indexed member, address indexed person);
    event CodeReviewed(
        bytes32 indexed codeDigest, address indexed person, MemberId indexed member, bool approves, bytes32 report
    );

    /// @notice By the account of an active member, which is from then on the code's author; the first one counts.
    function submit(bytes32 codeDigest, string calldata name) external;
    /// @notice By the account of an active member: this person speaks for it. A person speaks for one member at a time.
    function appoint(address person) external;
    /// @notice By the account of the active member that the person speaks for, or by the person.
    function dismiss(address person) external;
    /// @notice Relayed by anyone, signed by an appointed person (or an ERC-1271 account); a later one replaces it.
    function review(Review calldata given, bytes calldata signature) external;

    /// @notice Reverts with ReviewsNotSubmitted or ReviewsTooFew unless at least two people of at least two members
    /// approve, none of them the author's, each still speaking for the member it spoke for, that member active now.
    function requireReviewed(bytes32 codeDigest) external view;
    /// @dev Refused with ReviewsNotSubmitted.
    function submission(bytes32 codeDigest) external view returns (Submission memory);
    /// @notice The last word of each person, also of people who do not count any more.
    function reviewsOf(bytes32 codeDigest) external view returns (Opinion[] memory);
    /// @notice What a person signs to say this next.
    function digest(Review calldata given) external view returns (bytes32);
    /// @notice 0 where the person speaks for nobody.
    function memberOfPerson(address person) external view returns (MemberId);
    function people(MemberId member) external view returns (address[] memory);
    function submissionCount() external view returns (uint256);
    function submissions(uint256 offset, uint256 limit) external view returns (bytes32[] memory);
}
