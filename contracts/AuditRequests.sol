// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Governed} from "./Governed.sol";
import {AUDIT_SECONDS, MEMBERSHIP, SITES} from "./Names.sol";
import {IAuditRequests} from "./interfaces/IAuditRequests.sol";
import {IMembership} from "./interfaces/IMembership.sol";
import {ISiteRegistry} from "./interfaces/ISiteRegistry.sol";
import {MemberId, RequestId, SiteId, Word} from "./interfaces/Types.sol";
import {Ids} from "./libraries/Ids.sol";
import {Pages} from "./libraries/Pages.sol";

/// @title What was asked of a site, and what it answered.
/// @notice Facts and their times; silence is derived from them.
contract AuditRequests is IAuditRequests, Governed {
    using Pages for bytes32[];

    uint8 private constant AUDITOR = 8; // role of a site
    uint256 private constant MAX_PENDING = 8; // requests of one member to one site
    uint256 private constant USUAL = 7 days;
    uint256 private constant LEAST = 1 days;
    uint256 private constant MOST = 90 days;

    /// @dev What one member asked of one site. Those before `from` are answered or overdue.
    struct Asked {
        RequestId[] list;
        uint256 from;
    }

    /// @custom:storage-location erc7201:fatechain.storage.AuditRequests
    struct AuditRequestsStorage {
        mapping(RequestId id => Request) requests;
        bytes32[] list;
        mapping(SiteId site => mapping(MemberId by => Asked)) asked;
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.AuditRequests")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant AUDIT_REQUESTS_SLOT = 0x71bb4db0f660b2b3cf2aba0e8e2c1d6714be7238b370d7163e794db3458e8900;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
    }

    // ------------------------------------------------------------------ moves

    function file(SiteId site, Word kind, bytes32 digest, uint256 nonce) external returns (RequestId id) {
        (MemberId by, SiteId auditor) = _requireAuditor(msg.sender);
        if (_sites().memberOf(site) == by) revert AuditRequestOwnSite(site);
        if (digest == 0) revert AuditRequestZero("digest");
        if (Word.unwrap(kind) == 0) revert AuditRequestZero("kind");
        AuditRequestsStorage storage $ = _state();
        id = requestIdFor(msg.sender, nonce);
        Request storage made = $.requests[id];
        if (made.filedAt != 0) revert AuditRequestTaken(id);
        _requireRoom(site, by);

        made.site = site;
        made.by = by;
        made.auditor = auditor;
        made.kind = kind;
        made.digest = digest;
        made.filedAt = uint64(block.number);
        made.until = uint64(block.timestamp + answerSeconds());
        $.asked[site][by].list.push(id);
        $.list.push(RequestId.unwrap(id));
        emit AuditRequested(id, site, by, auditor, kind, digest, made.until);
    }

    function answer(RequestId id, bytes32 pack) external {
        Request storage found = _known(id);
        if (_sites().siteOf(msg.sender) != found.site) revert AuditRequestNotOperator(id, msg.sender);
        if (found.answeredAt != 0) revert AuditRequestAlreadyAnswered(id, found.answeredAt);
        if (pack == 0) revert AuditRequestZero("pack");
        found.pack = pack;
        found.answeredAt = uint64(block.number);
        found.answeredTime = uint64(block.timestamp);
        emit AuditAnswered(id, found.site, pack, found.answeredTime >= found.until);
    }

    // ------------------------------------------------------------------ reading

    function requestIdFor(address account, uint256 nonce) public view returns (RequestId) {
        return RequestId.wrap(Ids.derive(account, nonce));
    }

    function request(RequestId id) external view returns (Request memory) {
        return _known(id);
    }

    function state(RequestId id) public view returns (State) {
        Request storage found = _state().requests[id];
        if (found.filedAt == 0) return State.None;
        if (found.answeredAt != 0) return found.answeredTime < found.until ? State.Answered : State.AnsweredLate;
        return block.timestamp < found.until ? State.Open : State.Silent;
    }

    function answerSeconds() public view returns (uint256) {
        uint256 asked = _consortium().minimum(AUDIT_SECONDS);
        if (asked == 0) return USUAL;
        if (asked < LEAST) return LEAST;
        return asked > MOST ? MOST : asked;
    }

    function requestCount() external view returns (uint256) {
        return _state().list.length;
    }

    function requests(uint256 offset, uint256 limit) external view returns (RequestId[] memory page) {
        bytes32[] memory raw = _state().list.slice(offset, limit);
        assembly ("memory-safe") {
            page := raw
        }
    }

    // ------------------------------------------------------------------ inside

    function _requireAuditor(address caller) private view returns (MemberId by, SiteId auditor) {
        IMembership membership = IMembership(_contractOf(MEMBERSHIP));
        if (membership.isActiveAccount(caller)) return (membership.memberOf(caller), auditor);
        ISiteRegistry sites = _sites();
        auditor = sites.siteOf(caller);
        bool isAuditor = SiteId.unwrap(auditor) != 0 && sites.isActive(auditor) && sites.site(auditor).roles & AUDITOR != 0;
        if (!isAuditor) revert AuditRequestNotAuditor(caller);
        by = sites.memberOf(auditor);
    }

    /// @dev Passes over what is pending no more, from the oldest; so an answer to a later one makes room with the earlier.
    function _requireRoom(SiteId site, MemberId by) private {
        Asked storage asked = _state().asked[site][by];
        uint256 from = asked.from;
        uint256 length = asked.list.length;
        while (from < length && state(asked.list[from]) != State.Open) ++from;
        if (length - from >= MAX_PENDING) revert AuditRequestTooMany(site, by, MAX_PENDING);
        asked.from = from;
    }

    function _known(RequestId id) private view returns (Request storage found) {
        found = _state().requests[id];
        if (found.filedAt == 0) revert AuditRequestUnknown(id);
    }

    function _sites() private view returns (ISiteRegistry) {
        return ISiteRegistry(_contractOf(SITES));
    }

    function _state() private pure returns (AuditRequestsStorage storage $) {
        assembly {
            $.slot := AUDIT_REQUESTS_SLOT
        }
    }
}
