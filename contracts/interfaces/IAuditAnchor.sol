// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {SiteId} from "./Types.sol";

/// @title Heads of the sites' audit logs (RFC 6962, SHA-256), each proved consistent with the one before.
interface IAuditAnchor {
    struct Head {
        uint64 size;
        uint64 atBlock;
        bytes32 root;
    }

    error AnchorNotGrowing(SiteId site, uint64 found, uint64 anchored);
    error AnchorInconsistent(SiteId site, uint64 fromSize, uint64 toSize);
    error AnchorUnknown(SiteId site, uint64 size);
    error AnchorNotSites(address caller);
    error AnchorProofTooLong(uint256 found, uint256 allowed);

    event Anchored(SiteId indexed site, uint64 indexed size, bytes32 root);

    /// @notice By the operator of the site, whatever its standing. `proof`: RFC 6962 consistency from the anchored head; empty for the first head.
    function anchor(SiteId site, uint64 size, bytes32 root, bytes32[] calldata proof) external;
    /// @notice Only SiteRegistry: the site has another operator, or its operator is a lost account that was replaced; the one
    /// that anchored last does not go on.
    function forgetOperator(SiteId site) external;
    /// @notice The last head; all zero before the first.
    function head(SiteId site) external view returns (Head memory);
    /// @notice The root anchored at exactly this size, and its block; reverts when none was.
    function headAt(SiteId site, uint64 size) external view returns (Head memory);
    /// @notice Whether the leaf stands at `index` of the log of `size` anchored by the site.
    function verifyInclusion(SiteId site, uint64 size, uint64 index, bytes32 leafHash, bytes32[] calldata proof)
        external
        view
        returns (bool);
}
