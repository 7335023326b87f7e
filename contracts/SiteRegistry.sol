// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {Governed} from "./Governed.sol";
import {ANCHORS, ANCHOR_KEY, MEMBERSHIP, REQUEST_KEY} from "./Names.sol";
import {IAuditAnchor} from "./interfaces/IAuditAnchor.sol";
import {IMembership} from "./interfaces/IMembership.sol";
import {ISiteRegistry} from "./interfaces/ISiteRegistry.sol";
import {KeyId, MemberId, SiteId, Word} from "./interfaces/Types.sol";
import {Ids} from "./libraries/Ids.sol";
import {Pages} from "./libraries/Pages.sol";

/// @title The members' nodes and their keys.
/// @notice The member's account changes roles and retires; it and the node's operator change endpoint and keys. What
/// adds needs an active member, what takes away (a key, the site) needs only the right account.
contract SiteRegistry is ISiteRegistry, Governed {
    using Pages for bytes32[];

    uint8 private constant ALL_ROLES = 15;
    uint256 private constant MAX_NAME = 512; // bytes
    uint256 private constant MAX_ENDPOINT = 256; // bytes
    uint256 private constant MAX_KEY = 2048; // bytes
    uint256 private constant MAX_PROOF = 128; // bytes
    uint256 private constant MAX_STANDING_KEYS = 16;
    uint256 private constant MAX_KEYS = 128; // ended ones too: whoever reads `keys` reads all of them

    struct KeyRecord {
        SiteId site;
        Key key;
    }

    struct SiteRecord {
        Site site;
        KeyId[] keys; // ended ones too: their time is evidence
        uint256 standingKeys;
        uint256 requestKeys; // of the standing ones
    }

    /// @custom:storage-location erc7201:fatechain.storage.SiteRegistry
    struct SiteRegistryStorage {
        mapping(SiteId id => SiteRecord) sites;
        mapping(KeyId id => KeyRecord) keys;
        mapping(address operator => SiteId) byOperator; // past ones too
        bytes32[] list;
        mapping(address operator => SiteId) agreed;
        mapping(address account => KeyId) anchorKeys; // ended ones too
    }

    string private constant PROOF_CONTEXT = "FATE-Chain key proof v1";

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.SiteRegistry")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant SITE_REGISTRY_SLOT = 0x073d0ee24163d311818c86f104c4338aadb90e505514af57f5a2bfa50d2ed900;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
    }

    // ------------------------------------------------------------------ sites

    function agree(SiteId id) external {
        uint64 untilBlock = _state().sites[id].site.untilBlock;
        if (untilBlock != 0) revert SiteRetired(id, untilBlock);
        _state().agreed[msg.sender] = id;
        emit SiteOperatorAgreed(id, msg.sender);
    }

    function register(
        address operator,
        string calldata name,
        string calldata endpoint,
        uint8 roles,
        KeyInput[] calldata inputs,
        uint256 nonce
    ) external returns (SiteId id) {
        id = siteIdFor(msg.sender, nonce);
        MemberId owner = _membership().requireActiveAccount(msg.sender);
        if (_state().sites[id].site.fromBlock != 0) revert SiteTaken(id);
        _claim(id, operator);
        _state().list.push(SiteId.unwrap(id));
        _checkRoles(roles);
        if (bytes(name).length > MAX_NAME) revert SiteNameTooLong(bytes(name).length, MAX_NAME);
        _checkEndpoint(endpoint);

        _state().sites[id].site = Site(owner, operator, name, endpoint, roles, uint64(block.number), 0);
        emit SiteRegistered(id, owner, operator, name, endpoint, roles);
        for (uint256 i = 0; i < inputs.length; ++i) {
            _addKey(id, inputs[i].purpose, inputs[i].publicKey, inputs[i].proof);
        }
    }

    function changeOperator(SiteId id, address operator) external {
        _requireMember(id);
        _requireStanding(id);
        _claim(id, operator);
        Site storage found = _state().sites[id].site;
        address from = found.operator;
        found.operator = operator;
        IAuditAnchor(_contractOf(ANCHORS)).forgetOperator(id);
        emit SiteOperatorChanged(id, from, operator);
    }

    function forgetReplaced(address account) external {
        if (msg.sender != _contractOf(MEMBERSHIP)) revert SiteNotMembership(msg.sender);
        SiteId id = _state().byOperator[account];
        if (SiteId.unwrap(id) != 0) IAuditAnchor(_contractOf(ANCHORS)).forgetOperator(id);
    }

    function setEndpoint(SiteId id, string calldata endpoint) external {
        _requireManager(id);
        _requireStanding(id);
        _checkEndpoint(endpoint);
        _state().sites[id].site.endpoint = endpoint;
        emit SiteEndpointChanged(id, endpoint);
    }

    function setRoles(SiteId id, uint8 roles) external {
        _requireMember(id);
        _requireStanding(id);
        _checkRoles(roles);
        _state().sites[id].site.roles = roles;
        emit SiteRolesChanged(id, roles);
    }

    function retire(SiteId id) external {
        _requireMember(id);
        Site storage found = _known(id).site;
        if (found.untilBlock != 0) revert SiteRetired(id, found.untilBlock);
        found.untilBlock = uint64(block.number);
        emit SiteRetirement(id);
        _forgetCosigners(found.member);
    }

    // ------------------------------------------------------------------ keys

    function addKey(SiteId id, Word purpose, bytes calldata publicKey, bytes calldata proof) external returns (KeyId) {
        _requireManager(id);
        _requireStanding(id);
        return _addKey(id, purpose, publicKey, proof);
    }

    function revokeKey(SiteId id, KeyId keyId) external {
        _requireManager(id);
        SiteRegistryStorage storage $ = _state();
        KeyRecord storage found = $.keys[keyId];
        if (found.site != id) revert SiteKeyUnknown(id, keyId);
        if (found.key.untilBlock != 0) revert SiteKeyRevoked(id, keyId, found.key.untilBlock);

        found.key.untilBlock = uint64(block.number);
        $.sites[id].standingKeys -= 1;
        if (found.key.purpose == REQUEST_KEY) $.sites[id].requestKeys -= 1;
        emit SiteKeyEnded(id, keyId, found.key.purpose);
        if (found.key.purpose == ANCHOR_KEY) _forgetCosigners($.sites[id].site.member);
    }

    // ------------------------------------------------------------------ reading

    function siteIdFor(address account, uint256 nonce) public view returns (SiteId) {
        return SiteId.wrap(Ids.derive(account, nonce));
    }

    function keyProofDigest(SiteId id, Word purpose, bytes calldata publicKey) public view returns (bytes32) {
        return keccak256(abi.encode(PROOF_CONTEXT, block.chainid, address(this), id, purpose, publicKey));
    }

    function site(SiteId id) external view returns (Site memory) {
        return _known(id).site;
    }

    function keys(SiteId id) external view returns (Key[] memory all) {
        SiteRecord storage found = _known(id);
        all = new Key[](found.keys.length);
        for (uint256 i = 0; i < all.length; ++i) {
            all[i] = _state().keys[found.keys[i]].key;
        }
    }

    function key(KeyId id) external view returns (SiteId, Key memory) {
        KeyRecord storage found = _state().keys[id];
        if (found.key.fromBlock == 0) revert SiteKeyUnknown(found.site, id);
        return (found.site, found.key);
    }

    /// @dev A retired site still has its operator, who may withdraw what the site was party to.
    function siteOf(address operator) external view returns (SiteId id) {
        id = _state().byOperator[operator];
        if (!_speaksFor(operator, id)) id = SiteId.wrap(0);
    }

    function operatedSite(address account) external view returns (SiteId) {
        return _state().byOperator[account];
    }

    function memberOf(SiteId id) external view returns (MemberId) {
        return _known(id).site.member;
    }

    function anchorKey(address account) external view returns (SiteId, KeyId) {
        KeyId id = _state().anchorKeys[account];
        return (_state().keys[id].site, id);
    }

    function cosignerOf(address account) external view returns (MemberId) {
        KeyRecord storage found = _state().keys[_state().anchorKeys[account]];
        if (found.key.fromBlock == 0 || found.key.untilBlock != 0) return MemberId.wrap(0);
        Site storage owner = _state().sites[found.site].site;
        bool isStanding =
            owner.untilBlock == 0 && _membership().standing(owner.member) == IMembership.Standing.Active;
        return isStanding ? owner.member : MemberId.wrap(0);
    }

    function isActive(SiteId id) external view returns (bool) {
        SiteRecord storage found = _state().sites[id];
        return found.site.fromBlock != 0 && found.site.untilBlock == 0 && found.requestKeys != 0
            && _membership().standing(found.site.member) == IMembership.Standing.Active;
    }

    function requireActive(SiteId id) public view {
        _requireStanding(id);
        if (_state().sites[id].requestKeys == 0) _revertWithoutRequestKey(id);
    }

    function requireOperator(SiteId id, address caller) external view {
        address operator = _known(id).site.operator;
        if (!_speaksFor(caller, id)) revert SiteNotOperator(id, caller, operator);
        requireActive(id);
    }

    function siteCount() external view returns (uint256) {
        return _state().list.length;
    }

    function sites(uint256 offset, uint256 limit) external view returns (SiteId[] memory page) {
        bytes32[] memory raw = _state().list.slice(offset, limit);
        assembly ("memory-safe") {
            page := raw
        }
    }

    // ------------------------------------------------------------------ inside

    /// @dev An account operates one site in its life, once: nobody else's site is put upon it.
    function _claim(SiteId id, address operator) private {
        SiteRegistryStorage storage $ = _state();
        SiteId taken = $.byOperator[operator];
        if (SiteId.unwrap(taken) != 0) revert SiteOperatorTaken(operator, taken);
        if (operator != msg.sender && $.agreed[operator] != id) revert SiteOperatorNotAgreed(id, operator);
        $.byOperator[operator] = id;
    }

    /// @dev The site is in the id: nobody takes another site's key from it by registering it first. A key that ended
    /// does not come back.
    function _addKey(SiteId id, Word purpose, bytes calldata publicKey, bytes calldata proof)
        private
        returns (KeyId keyId)
    {
        if (publicKey.length > MAX_KEY) revert SiteKeyTooLong(publicKey.length, MAX_KEY);
        if (proof.length > MAX_PROOF) revert SiteProofTooLong(proof.length, MAX_PROOF);
        SiteRegistryStorage storage $ = _state();
        SiteRecord storage owner = $.sites[id];
        keyId = KeyId.wrap(keccak256(abi.encode(block.chainid, address(this), id, purpose, publicKey)));
        if ($.keys[keyId].key.fromBlock != 0) revert SiteKeyTaken(keyId);
        if (owner.standingKeys == MAX_STANDING_KEYS) revert SiteTooManyKeys(MAX_STANDING_KEYS + 1, MAX_STANDING_KEYS);
        if (owner.keys.length == MAX_KEYS) revert SiteTooManyKeys(MAX_KEYS + 1, MAX_KEYS);

        $.keys[keyId] = KeyRecord(id, Key(keyId, purpose, publicKey, uint64(block.number), 0, proof));
        owner.keys.push(keyId);
        owner.standingKeys += 1;
        if (purpose == REQUEST_KEY) owner.requestKeys += 1;
        if (purpose == ANCHOR_KEY) _claimAnchorKey(id, keyId, publicKey, proof);
        emit SiteKeyAdded(id, keyId, purpose, publicKey);
    }

    /// @dev Nobody takes another's address: it signed for this site.
    function _claimAnchorKey(SiteId id, KeyId keyId, bytes calldata publicKey, bytes calldata proof) private {
        SiteRegistryStorage storage $ = _state();
        if (publicKey.length != 20) revert SiteBadAnchorKey(keyId);
        address account = address(bytes20(publicKey));
        KeyId taken = $.anchorKeys[account];
        if (KeyId.unwrap(taken) != 0) revert SiteAnchorKeyTaken(account, $.keys[taken].site);
        // A signature that recovers to nobody is no error of the sender's alone: all are refused alike.
        // slither-disable-next-line unused-return
        (address signer,,) = ECDSA.tryRecover(keyProofDigest(id, ANCHOR_KEY, publicKey), proof);
        if (signer != account || account == address(0)) revert SiteBadAnchorKey(keyId);
        $.anchorKeys[account] = keyId;
    }

    /// @dev Without AuditAnchor there is nothing that remembers them.
    function _forgetCosigners(MemberId member) private {
        address anchors = _consortium().findContract(ANCHORS);
        if (anchors != address(0)) IAuditAnchor(anchors).forgetCosigners(member);
    }

    function _revertWithoutRequestKey(SiteId id) private view {
        KeyId[] storage all = _state().sites[id].keys;
        for (uint256 i = all.length; i > 0; --i) {
            Key storage found = _state().keys[all[i - 1]].key;
            if (found.purpose == REQUEST_KEY) revert SiteKeyRevoked(id, found.id, found.untilBlock);
        }
        revert SiteKeyUnknown(id, KeyId.wrap(0));
    }

    function _requireStanding(SiteId id) private view {
        Site storage found = _known(id).site;
        if (found.untilBlock != 0) revert SiteRetired(id, found.untilBlock);
        _membership().requireActive(found.member);
    }

    function _requireMember(SiteId id) private view {
        if (!_isMemberAccount(id)) revert SiteNotOwner(id, msg.sender);
    }

    function _requireManager(SiteId id) private view {
        _known(id);
        if (!_speaksFor(msg.sender, id) && !_isMemberAccount(id)) revert SiteNotOwner(id, msg.sender);
    }

    /// @dev The account that a member lost and had replaced speaks for nobody: not for a site that it operates either.
    function _speaksFor(address account, SiteId id) private view returns (bool) {
        return _state().sites[id].site.operator == account && account != address(0) && !_isReplaced(account);
    }

    function _isReplaced(address account) private view returns (bool) {
        IMembership membership = _membership();
        try membership.memberOf(account) returns (MemberId owner) {
            return membership.member(owner).account != account;
        } catch {
            return false; // no member's account, now or ever
        }
    }

    function _isMemberAccount(SiteId id) private view returns (bool) {
        return _membership().member(_known(id).site.member).account == msg.sender;
    }

    function _known(SiteId id) private view returns (SiteRecord storage found) {
        found = _state().sites[id];
        if (found.site.fromBlock == 0) revert SiteUnknown(id);
    }

    function _checkRoles(uint8 roles) private pure {
        if (roles == 0 || roles > ALL_ROLES) revert SiteBadRoles(roles);
    }

    function _checkEndpoint(string calldata endpoint) private pure {
        uint256 length = bytes(endpoint).length;
        if (length > MAX_ENDPOINT) revert SiteEndpointTooLong(length, MAX_ENDPOINT);
    }

    function _membership() private view returns (IMembership) {
        return IMembership(_contractOf(MEMBERSHIP));
    }

    function _state() private pure returns (SiteRegistryStorage storage $) {
        assembly {
            $.slot := SITE_REGISTRY_SLOT
        }
    }
}
