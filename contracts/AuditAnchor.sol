// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Governed} from "./Governed.sol";
import {SITES} from "./Names.sol";
import {IAuditAnchor} from "./interfaces/IAuditAnchor.sol";
import {ISiteRegistry} from "./interfaces/ISiteRegistry.sol";
import {SiteId} from "./interfaces/Types.sol";
import {MerkleLog} from "./libraries/MerkleLog.sol";

/// @title Heads of the sites' audit logs.
/// @notice A site anchors whatever its standing: evidence is welcome from a suspended or retired site too.
contract AuditAnchor is IAuditAnchor, Governed {
    /// @dev One slot. A site's operator is looked up with the first head and after it changed, which the registry of sites
    /// tells: that is a quarter of what a head costs.
    struct Log {
        address operator;
        uint64 size; // of the last head
    }

    /// @custom:storage-location erc7201:fatechain.storage.AuditAnchor
    struct AuditAnchorStorage {
        mapping(SiteId site => Log) logs;
        mapping(SiteId site => mapping(uint64 size => Head)) heads;
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.AuditAnchor")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant AUDIT_ANCHOR_SLOT = 0x5b6a769019d8c3fb7cb28303b57f38e180e4232ae66eefa5fcad7a7d71b6b500;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
    }

    function anchor(SiteId site, uint64 size, bytes32 root, bytes32[] calldata proof) external {
        AuditAnchorStorage storage $ = _state();
        Log memory log = $.logs[site];
        uint64 anchored = log.size;
        if (msg.sender != log.operator) _requireOperator(site);
        if (size <= anchored) revert AnchorNotGrowing(site, size, anchored);
        uint256 allowed = anchored == 0 ? 0 : MerkleLog.MAX_PROOF;
        if (proof.length > allowed) revert AnchorProofTooLong(proof.length, allowed);
        if (anchored != 0) {
            bool consistent = MerkleLog.verifyConsistency($.heads[site][anchored].root, anchored, root, size, proof);
            if (!consistent) revert AnchorInconsistent(site, anchored, size);
        }

        $.logs[site] = Log(msg.sender, size);
        $.heads[site][size] = Head(size, uint64(block.number), root);
        emit Anchored(site, size, root);
    }

    function forgetOperator(SiteId site) external {
        if (msg.sender != _contractOf(SITES)) revert AnchorNotSites(msg.sender);
        _state().logs[site].operator = address(0);
    }

    /// @dev All zero before the first.
    function head(SiteId site) external view returns (Head memory) {
        return _state().heads[site][_state().logs[site].size];
    }

    function headAt(SiteId site, uint64 size) public view returns (Head memory found) {
        found = _state().heads[site][size];
        if (found.atBlock == 0) revert AnchorUnknown(site, size);
    }

    function verifyInclusion(SiteId site, uint64 size, uint64 index, bytes32 leafHash, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        if (proof.length > MerkleLog.MAX_PROOF) revert AnchorProofTooLong(proof.length, MerkleLog.MAX_PROOF);
        return MerkleLog.verifyInclusion(headAt(site, size).root, size, index, leafHash, proof);
    }

    function _requireOperator(SiteId site) private view {
        ISiteRegistry sites = ISiteRegistry(_contractOf(SITES));
        if (sites.siteOf(msg.sender) == site && SiteId.unwrap(site) != 0) return;
        revert ISiteRegistry.SiteNotOperator(site, msg.sender, sites.site(site).operator);
    }

    function _state() private pure returns (AuditAnchorStorage storage $) {
        assembly {
            $.slot := AUDIT_ANCHOR_SLOT
        }
    }
}
