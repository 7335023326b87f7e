// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {KeyId, MemberId, SiteId, Word} from "./Types.sol";

/// @title A member's nodes: endpoint, roles, keys by purpose.
interface ISiteRegistry {
    /// @dev roles is a bit set: 1 data owner, 2 model user, 4 coordinator, 8 auditor.
    struct Site {
        MemberId member;
        address operator; // the account that the node signs transactions with
        string name;
        string endpoint;
        uint8 roles;
        uint64 fromBlock;
        uint64 untilBlock; // 0: stands
    }

    /// @dev purpose: "request" (Ed25519, RFC 9421 signatures and receipts), "tls", "audit" (Ed25519, checkpoints), "anchor"
    /// (secp256k1, checkpoints by EIP-712; publicKey is the 20 bytes of its address).
    struct Key {
        KeyId id; // keccak256(abi.encode(chain id, registry, site, purpose, publicKey))
        Word purpose;
        bytes publicKey;
        uint64 fromBlock;
        uint64 untilBlock; // 0: stands; a key is valid in [fromBlock, untilBlock)
        bytes proof; // of possession: the key's own signature over `keyProofDigest`
    }

    /// @dev No chain of ours verifies Ed25519: the proof is kept, and nodes take a "request" or "audit" key whose proof
    /// does not verify for no key. That of an "anchor" key (65 bytes r, s, v, the lower s, over the digest as it is) is
    /// verified here.
    struct KeyInput {
        Word purpose;
        bytes publicKey;
        bytes proof;
    }

    error SiteUnknown(SiteId id);
    error SiteTaken(SiteId id);
    error SiteRetired(SiteId id, uint64 atBlock);
    error SiteNotOperator(SiteId id, address caller, address operator);
    error SiteNotOwner(SiteId id, address caller);
    error SiteNotMembership(address caller);
    error SiteOperatorTaken(address operator, SiteId id);
    error SiteOperatorNotAgreed(SiteId id, address operator);
    error SiteKeyUnknown(SiteId id, KeyId key);
    error SiteKeyTaken(KeyId key);
    error SiteKeyRevoked(SiteId id, KeyId key, uint64 atBlock);
    error SiteKeyTooLong(uint256 found, uint256 allowed);
    error SiteProofTooLong(uint256 found, uint256 allowed);
    error SiteNameTooLong(uint256 found, uint256 allowed);
    error SiteEndpointTooLong(uint256 found, uint256 allowed);
    error SiteBadRoles(uint8 found);
    error SiteTooManyKeys(uint256 found, uint256 allowed);
    error SiteBadAnchorKey(KeyId key);
    error SiteAnchorKeyTaken(address anchorKey, SiteId id);

    event SiteRegistered(
        SiteId indexed id, MemberId indexed member, address indexed operator, string name, string endpoint, uint8 roles
    );
    event SiteOperatorAgreed(SiteId indexed id, address indexed operator);
    event SiteOperatorChanged(SiteId indexed id, address indexed from, address indexed to);
    event SiteEndpointChanged(SiteId indexed id, string endpoint);
    event SiteRolesChanged(SiteId indexed id, uint8 roles);
    event SiteRetirement(SiteId indexed id);
    event SiteKeyAdded(SiteId indexed id, KeyId indexed key, Word indexed purpose, bytes publicKey);
    event SiteKeyEnded(SiteId indexed id, KeyId indexed key, Word indexed purpose);

    /// @dev owner = the member's account.
    function siteIdFor(address account, uint256 nonce) external view returns (SiteId);
    /// @notice By the account that shall operate the site `id`, before the member's account registers it or changes its
    /// operator; the last word counts.
    function agree(SiteId id) external;
    /// @notice By the account of an active member. The operator is that account, or one that agreed to this site.
    function register(
        address operator,
        string calldata name,
        string calldata endpoint,
        uint8 roles,
        KeyInput[] calldata keys,
        uint256 nonce
    ) external returns (SiteId);
    /// @notice By the operator or the member's account.
    function setEndpoint(SiteId id, string calldata endpoint) external;
    /// @notice By the member's account.
    function setRoles(SiteId id, uint8 roles) external;
    /// @notice By the account of the active member. The new operator is that account, or one that agreed to this site;
    /// the old one speaks for the site no more and operates no other. After a recovery of the member this is the first
    /// thing to do for every site that the lost account operated.
    function changeOperator(SiteId id, address operator) external;
    /// @notice By the member's account, active or not; for ever.
    function retire(SiteId id) external;
    /// @notice By the operator or the member's account; a key that ended does not come back. An address is the "anchor" key
    /// of one site, for ever: what it signed is that site's.
    function addKey(SiteId id, Word purpose, bytes calldata publicKey, bytes calldata proof) external returns (KeyId);
    /// @notice Ends a key at once. By the operator or the member's account, active or not.
    function revokeKey(SiteId id, KeyId key) external;

    /// @notice Only Membership: a member lost this account and has another; what knows it as an operator forgets it.
    function forgetReplaced(address account) external;
    /// @notice What a key signs to prove that who registers it holds it:
    /// keccak256(abi.encode("FATE-Chain key proof v1", chain id, registry, site, purpose, publicKey)).
    function keyProofDigest(SiteId id, Word purpose, bytes calldata publicKey) external view returns (bytes32);
    function site(SiteId id) external view returns (Site memory);
    function keys(SiteId id) external view returns (Key[] memory);
    function key(KeyId id) external view returns (SiteId, Key memory);
    /// @notice 0 where the account operates no site: never did, was replaced by `changeOperator`, or is the account that
    /// a member lost and had replaced. An account never operates a second site.
    function siteOf(address operator) external view returns (SiteId);
    /// @notice The site that the account operates or once operated, whatever became of both; 0: none.
    function operatedSite(address account) external view returns (SiteId);
    function memberOf(SiteId id) external view returns (MemberId);
    /// @notice The site whose "anchor" key this address is or was, and the key; zero where it is nobody's.
    function anchorKey(address account) external view returns (SiteId, KeyId);
    /// @notice The member that this address cosigns checkpoints for: its "anchor" key and the site stand and the member is
    /// active; else 0.
    function cosignerOf(address account) external view returns (MemberId);
    function isActive(SiteId id) external view returns (bool);
    /// @notice Reverts unless the site stands, its member is active, and it holds at least one valid "request" key.
    function requireActive(SiteId id) external view;
    /// @notice Reverts unless `caller` is the operator of the active site `id`.
    function requireOperator(SiteId id, address caller) external view;
    function siteCount() external view returns (uint256);
    function sites(uint256 offset, uint256 limit) external view returns (SiteId[] memory);
}
