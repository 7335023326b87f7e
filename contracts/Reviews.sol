// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {NoncesUpgradeable} from "@openzeppelin/contracts-upgradeable/utils/NoncesUpgradeable.sol";
import {EIP712Upgradeable} from "@openzeppelin/contracts-upgradeable/utils/cryptography/EIP712Upgradeable.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";

import {Governed} from "./Governed.sol";
import {MEMBERSHIP} from "./Names.sol";
import {IMembership} from "./interfaces/IMembership.sol";
import {IReviews} from "./interfaces/IReviews.sol";
import {MemberId} from "./interfaces/Types.sol";
import {Pages} from "./libraries/Pages.sol";

/// @title Who read which code, and what they say of it.
/// @notice What counts is decided when it is asked for: a person who was dismissed, or whose member is not active,
/// does not count, and counts for nobody else either.
contract Reviews is IReviews, Governed, EIP712Upgradeable, NoncesUpgradeable {
    using EnumerableSet for EnumerableSet.AddressSet;
    using Pages for bytes32[];

    bytes32 private constant REVIEW_TYPE =
        keccak256("Review(bytes32 codeDigest,address person,bool approves,bytes32 report,uint256 nonce)");
    uint256 private constant REQUIRED = 2;
    uint256 private constant MAX_NAME = 512; // bytes
    uint256 private constant MAX_PEOPLE = 32; // of a member
    // Of a member about one code: nobody makes the list too long to be read by bringing ever new people.
    uint256 private constant MAX_OPINIONS = 8;

    /// @custom:storage-location erc7201:fatechain.storage.Reviews
    struct ReviewsStorage {
        mapping(bytes32 codeDigest => Submission) submissions;
        bytes32[] list;
        mapping(address person => MemberId) members;
        mapping(MemberId member => EnumerableSet.AddressSet) people;
        mapping(bytes32 codeDigest => Opinion[]) opinions;
        mapping(bytes32 codeDigest => mapping(address person => uint256)) places; // in opinions, from 1
        mapping(bytes32 codeDigest => mapping(MemberId member => uint256)) voiced; // first opinions
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.Reviews")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant REVIEWS_SLOT = 0x8089d738d9a7f777a9a1224f8975d4ff19b4a699a62fa0316bc9c5b198e0f800;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
        __EIP712_init("FATE-Chain Reviews", "1");
    }

    // ------------------------------------------------------------------ by members

    function submit(bytes32 codeDigest, string calldata name) external {
        MemberId author = _membership().requireActiveAccount(msg.sender);
        if (bytes(name).length > MAX_NAME) revert ReviewsNameTooLong(bytes(name).length, MAX_NAME);
        ReviewsStorage storage $ = _state();
        if ($.submissions[codeDigest].fromBlock != 0) revert ReviewsTaken(codeDigest);
        $.submissions[codeDigest] = Submission(author, name, uint64(block.number));
        $.list.push(codeDigest);
        emit CodeSubmitted(codeDigest, author, name);
    }

    function appoint(address person) external {
        MemberId member = _membership().requireActiveAccount(msg.sender);
        ReviewsStorage storage $ = _state();
        MemberId taken = $.members[person];
        if (MemberId.unwrap(taken) != 0) revert ReviewsPersonTaken(person, taken);
        if ($.people[member].length() == MAX_PEOPLE) revert ReviewsTooMany(MAX_PEOPLE + 1, MAX_PEOPLE);
        $.members[person] = member;
        // Nobody spoke through the person: it is in nobody's set.
        // slither-disable-next-line unused-return
        $.people[member].add(person);
        emit PersonAppointed(member, person);
    }

    /// @dev A person steps down by itself too: else a member could keep another one's people by appointing them first.
    function dismiss(address person) external {
        ReviewsStorage storage $ = _state();
        MemberId member = _spokenFor(person);
        bool allowed = msg.sender == person || _membership().requireActiveAccount(msg.sender) == member;
        if (!allowed) revert ReviewsNotDismissable(person, msg.sender);
        $.members[person] = MemberId.wrap(0);
        // slither-disable-next-line unused-return -- as in `appoint`: it is there
        $.people[member].remove(person);
        emit PersonDismissed(member, person);
    }

    // ------------------------------------------------------------------ by people

    function review(Review calldata given, bytes calldata signature) external {
        ReviewsStorage storage $ = _state();
        _submitted(given.codeDigest);
        MemberId member = _spokenFor(given.person);
        if (!SignatureChecker.isValidSignatureNow(given.person, digest(given), signature)) {
            revert ReviewsBadSignature(given.person);
        }
        _useNonce(given.person);

        Opinion memory opinion =
            Opinion(given.person, member, given.approves, given.report, uint64(block.number));
        uint256 place = $.places[given.codeDigest][given.person];
        if (place != 0) {
            $.opinions[given.codeDigest][place - 1] = opinion;
        } else {
            uint256 voiced = $.voiced[given.codeDigest][member] + 1;
            if (voiced > MAX_OPINIONS) revert ReviewsTooMany(voiced, MAX_OPINIONS);
            $.voiced[given.codeDigest][member] = voiced;
            $.opinions[given.codeDigest].push(opinion);
            $.places[given.codeDigest][given.person] = $.opinions[given.codeDigest].length;
        }
        emit CodeReviewed(given.codeDigest, given.person, member, given.approves, given.report);
    }

    // ------------------------------------------------------------------ reading

    /// @dev Two members are two people: a person speaks for one.
    function requireReviewed(bytes32 codeDigest) external view {
        MemberId author = _submitted(codeDigest).author;
        Opinion[] storage all = _state().opinions[codeDigest];
        MemberId first;
        uint256 found;
        for (uint256 i = 0; i < all.length; ++i) {
            MemberId member = all[i].member;
            if (member == author || member == first || !_counts(all[i])) continue;
            first = member;
            found += 1;
            if (found == REQUIRED) return;
        }
        revert ReviewsTooFew(codeDigest, found, REQUIRED);
    }

    function submission(bytes32 codeDigest) external view returns (Submission memory) {
        return _submitted(codeDigest);
    }

    function reviewsOf(bytes32 codeDigest) external view returns (Opinion[] memory) {
        return _state().opinions[codeDigest];
    }

    function digest(Review calldata given) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(REVIEW_TYPE, given, nonces(given.person))));
    }

    function memberOfPerson(address person) external view returns (MemberId) {
        return _state().members[person];
    }

    function people(MemberId member) external view returns (address[] memory) {
        return _state().people[member].values();
    }

    function submissionCount() external view returns (uint256) {
        return _state().list.length;
    }

    function submissions(uint256 offset, uint256 limit) external view returns (bytes32[] memory) {
        return _state().list.slice(offset, limit);
    }

    // ------------------------------------------------------------------ inside

    function _counts(Opinion storage opinion) private view returns (bool) {
        return opinion.approves && _state().members[opinion.person] == opinion.member
            && _membership().standing(opinion.member) == IMembership.Standing.Active;
    }

    function _submitted(bytes32 codeDigest) private view returns (Submission storage found) {
        found = _state().submissions[codeDigest];
        if (found.fromBlock == 0) revert ReviewsNotSubmitted(codeDigest);
    }

    function _spokenFor(address person) private view returns (MemberId member) {
        member = _state().members[person];
        if (MemberId.unwrap(member) == 0) revert ReviewsNotAppointed(person);
    }

    function _membership() private view returns (IMembership) {
        return IMembership(_contractOf(MEMBERSHIP));
    }

    function _state() private pure returns (ReviewsStorage storage $) {
        assembly {
            $.slot := REVIEWS_SLOT
        }
    }
}
