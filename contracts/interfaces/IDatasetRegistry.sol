// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {DatasetId, MemberId, SiteId} from "./Types.sol";

/// @title Dataset versions by commitment: never a row.
interface IDatasetRegistry {
    struct Version {
        bytes32 schemaDigest; // SHA-256 of the canonical schema
        bytes32 rowsRoot; // RFC 6962 root over salted rows
        uint64 rows;
        uint32 columns;
        uint64 fromBlock;
        uint64 untilBlock; // 0: stands
    }

    struct Dataset {
        SiteId site;
        MemberId owner;
        string name;
        uint32 versions;
        uint64 fromBlock;
    }

    error DatasetUnknown(DatasetId id);
    error DatasetTaken(DatasetId id);
    error DatasetNotOwner(DatasetId id, address caller);
    error DatasetVersionUnknown(DatasetId id, uint32 version);
    error DatasetVersionWithdrawn(DatasetId id, uint32 version, uint64 atBlock);
    error DatasetEmpty();
    error DatasetNameTooLong(uint256 found, uint256 allowed);

    event DatasetRegistered(DatasetId indexed id, SiteId indexed site, MemberId indexed owner, string name);
    event DatasetVersionAdded(
        DatasetId indexed id, uint32 indexed version, bytes32 schemaDigest, bytes32 rowsRoot, uint64 rows, uint32 columns
    );
    event DatasetVersionEnded(DatasetId indexed id, uint32 indexed version);

    /// @dev owner = the operator account of the site.
    function datasetIdFor(address operator, uint256 nonce) external view returns (DatasetId);
    /// @notice Registers a dataset with its version 1. By the site's operator.
    function register(
        SiteId site,
        string calldata name,
        bytes32 schemaDigest,
        bytes32 rowsRoot,
        uint64 rows,
        uint32 columns,
        uint256 nonce
    ) external returns (DatasetId);
    /// @notice By the operator of the dataset's site, which is active. Versions count from 1.
    function addVersion(DatasetId id, bytes32 schemaDigest, bytes32 rowsRoot, uint64 rows, uint32 columns)
        external
        returns (uint32);
    /// @notice By the operator of the dataset's site or its member's account, active or not.
    function withdrawVersion(DatasetId id, uint32 version) external;

    function dataset(DatasetId id) external view returns (Dataset memory);
    function version(DatasetId id, uint32 version) external view returns (Version memory);
    /// @notice Reverts unless the version exists and stands.
    function requireStanding(DatasetId id, uint32 version) external view;
    function datasetCount() external view returns (uint256);
    function datasets(uint256 offset, uint256 limit) external view returns (DatasetId[] memory);
}
