// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Governed} from "./Governed.sol";
import {MEMBERSHIP} from "./Names.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {IMembership} from "./interfaces/IMembership.sol";
import {DisputeId, MemberId, Word} from "./interfaces/Types.sol";
import {Ids} from "./libraries/Ids.sol";
import {Pages} from "./libraries/Pages.sol";

/// @title What members hold against each other, and how it ended.
/// @notice Facts and their blocks; the state is derived from them. Only a vote rules.
contract Disputes is IDisputes, Governed {
    using Pages for bytes32[];

    uint8 private constant UPHELD = 1;
    uint8 private constant DISMISSED = 2;

    /// @custom:storage-location erc7201:fatechain.storage.Disputes
    struct DisputesStorage {
        mapping(DisputeId id => Dispute) disputes;
        bytes32[] list;
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.Disputes")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant DISPUTES_SLOT = 0x1cd12e1b29c5c0101a9058d8460d8d12619b8b992e43869274c009cd64602d00;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
    }

    // ------------------------------------------------------------------ moves

    function open(MemberId respondent, Word about, bytes32 subject, bytes32 evidence, uint256 nonce)
        external
        returns (DisputeId id)
    {
        MemberId claimant = _membership().requireActiveAccount(msg.sender);
        if (respondent == claimant) revert DisputeWithOneself(claimant);
        // It reverts where the respondent is unknown: that is all that is asked.
        // slither-disable-next-line unused-return
        _membership().member(respondent);
        DisputesStorage storage $ = _state();
        id = disputeIdFor(msg.sender, nonce);
        Dispute storage made = $.disputes[id];
        if (made.openedAt != 0) revert DisputeTaken(id);

        made.claimant = claimant;
        made.respondent = respondent;
        made.about = about;
        made.subject = subject;
        made.evidence = evidence;
        made.openedAt = uint64(block.number);
        $.list.push(DisputeId.unwrap(id));
        emit DisputeOpened(id, claimant, respondent, about, subject, evidence);
    }

    function answer(DisputeId id, bytes32 answer_) external {
        Dispute storage found = _known(id);
        if (msg.sender != _account(found.respondent)) revert DisputeNotRespondent(id, msg.sender);
        _requireStanding(id);
        if (found.answeredAt != 0) revert DisputeAlreadyAnswered(id, found.answeredAt);
        found.answer = answer_;
        found.answeredAt = uint64(block.number);
        emit DisputeAnswer(id, answer_);
    }

    function withdraw(DisputeId id) external {
        Dispute storage found = _known(id);
        if (msg.sender != _account(found.claimant)) revert DisputeNotClaimant(id, msg.sender);
        _requireStanding(id);
        found.withdrawnAt = uint64(block.number);
        emit DisputeWithdrawal(id);
    }

    function rule(DisputeId id, uint8 ruling, bytes32 reasons) external onlyAuthority {
        Dispute storage found = _known(id);
        _requireStanding(id);
        if (ruling != UPHELD && ruling != DISMISSED) revert DisputeBadRuling(ruling);
        found.ruling = ruling;
        found.reasons = reasons;
        found.ruledAt = uint64(block.number);
        emit DisputeRuling(id, ruling, reasons);
    }

    // ------------------------------------------------------------------ reading

    function disputeIdFor(address account, uint256 nonce) public view returns (DisputeId) {
        return DisputeId.wrap(Ids.derive(account, nonce));
    }

    function dispute(DisputeId id) external view returns (Dispute memory) {
        return _known(id);
    }

    function state(DisputeId id) public view returns (State) {
        Dispute storage found = _state().disputes[id];
        if (found.openedAt == 0) return State.None;
        if (found.withdrawnAt != 0) return State.Withdrawn;
        if (found.ruling == UPHELD) return State.Upheld;
        if (found.ruling == DISMISSED) return State.Dismissed;
        return found.answeredAt == 0 ? State.Open : State.Answered;
    }

    function disputeCount() external view returns (uint256) {
        return _state().list.length;
    }

    function disputes(uint256 offset, uint256 limit) external view returns (DisputeId[] memory page) {
        bytes32[] memory raw = _state().list.slice(offset, limit);
        assembly ("memory-safe") {
            page := raw
        }
    }

    // ------------------------------------------------------------------ inside

    function _requireStanding(DisputeId id) private view {
        State found = state(id);
        if (found != State.Open && found != State.Answered) revert DisputeEnded(id, found);
    }

    function _known(DisputeId id) private view returns (Dispute storage found) {
        found = _state().disputes[id];
        if (found.openedAt == 0) revert DisputeUnknown(id);
    }

    function _account(MemberId member) private view returns (address) {
        return _membership().member(member).account;
    }

    function _membership() private view returns (IMembership) {
        return IMembership(_contractOf(MEMBERSHIP));
    }

    function _state() private pure returns (DisputesStorage storage $) {
        assembly {
            $.slot := DISPUTES_SLOT
        }
    }
}
