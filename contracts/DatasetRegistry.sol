// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Governed} from "./Governed.sol";
import {MEMBERSHIP, SITES} from "./Names.sol";
import {IDatasetRegistry} from "./interfaces/IDatasetRegistry.sol";
import {IMembership} from "./interfaces/IMembership.sol";
import {ISiteRegistry} from "./interfaces/ISiteRegistry.sol";
import {DatasetId, MemberId, SiteId} from "./interfaces/Types.sol";
import {Ids} from "./libraries/Ids.sol";
import {Pages} from "./libraries/Pages.sol";

/// @title Versions of datasets by commitment.
/// @notice Versions are counted from 1. Withdrawing one needs the site's operator or the member's account, active or not.
contract DatasetRegistry is IDatasetRegistry, Governed {
    using Pages for bytes32[];

    uint256 private constant MAX_NAME = 512; // bytes

    /// @custom:storage-location erc7201:fatechain.storage.DatasetRegistry
    struct DatasetRegistryStorage {
        mapping(DatasetId id => Dataset) datasets;
        mapping(DatasetId id => mapping(uint32 version => Version)) versions;
        bytes32[] list;
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.DatasetRegistry")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant DATASET_REGISTRY_SLOT = 0xd6bf224643e866a0b131428cff1abc0c054f5ef71bd8c4f56e5dace529fe7600;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
    }

    function register(
        SiteId site,
        string calldata name,
        bytes32 schemaDigest,
        bytes32 rowsRoot,
        uint64 rows,
        uint32 columns,
        uint256 nonce
    ) external returns (DatasetId id) {
        DatasetRegistryStorage storage $ = _state();
        _sites().requireOperator(site, msg.sender);
        id = datasetIdFor(msg.sender, nonce);
        if ($.datasets[id].fromBlock != 0) revert DatasetTaken(id);
        if (bytes(name).length > MAX_NAME) revert DatasetNameTooLong(bytes(name).length, MAX_NAME);

        MemberId owner = _sites().memberOf(site);
        $.datasets[id] = Dataset(site, owner, name, 0, uint64(block.number));
        $.list.push(DatasetId.unwrap(id));
        emit DatasetRegistered(id, site, owner, name);
        _addVersion(id, Version(schemaDigest, rowsRoot, rows, columns, uint64(block.number), 0));
    }

    function addVersion(DatasetId id, bytes32 schemaDigest, bytes32 rowsRoot, uint64 rows, uint32 columns)
        external
        returns (uint32)
    {
        SiteId site = _known(id).site;
        if (_sites().siteOf(msg.sender) != site) revert DatasetNotOwner(id, msg.sender);
        _sites().requireActive(site);
        return _addVersion(id, Version(schemaDigest, rowsRoot, rows, columns, uint64(block.number), 0));
    }

    function withdrawVersion(DatasetId id, uint32 number) external {
        Dataset storage found = _known(id);
        if (_sites().siteOf(msg.sender) != found.site && _memberAccount(found.owner) != msg.sender) {
            revert DatasetNotOwner(id, msg.sender);
        }
        requireStanding(id, number);
        _state().versions[id][number].untilBlock = uint64(block.number);
        emit DatasetVersionEnded(id, number);
    }

    function datasetIdFor(address operator, uint256 nonce) public view returns (DatasetId) {
        return DatasetId.wrap(Ids.derive(operator, nonce));
    }

    function dataset(DatasetId id) external view returns (Dataset memory) {
        return _known(id);
    }

    function version(DatasetId id, uint32 number) external view returns (Version memory) {
        return _knownVersion(id, number);
    }

    function requireStanding(DatasetId id, uint32 number) public view {
        uint64 untilBlock = _knownVersion(id, number).untilBlock;
        if (untilBlock != 0) revert DatasetVersionWithdrawn(id, number, untilBlock);
    }

    function datasetCount() external view returns (uint256) {
        return _state().list.length;
    }

    function datasets(uint256 offset, uint256 limit) external view returns (DatasetId[] memory page) {
        bytes32[] memory raw = _state().list.slice(offset, limit);
        assembly ("memory-safe") {
            page := raw
        }
    }

    // ------------------------------------------------------------------ inside

    function _addVersion(DatasetId id, Version memory added) private returns (uint32 number) {
        if (added.rows == 0 || added.columns == 0) revert DatasetEmpty();
        DatasetRegistryStorage storage $ = _state();
        number = ++$.datasets[id].versions;
        $.versions[id][number] = added;
        emit DatasetVersionAdded(id, number, added.schemaDigest, added.rowsRoot, added.rows, added.columns);
    }

    function _known(DatasetId id) private view returns (Dataset storage found) {
        found = _state().datasets[id];
        if (found.fromBlock == 0) revert DatasetUnknown(id);
    }

    function _knownVersion(DatasetId id, uint32 number) private view returns (Version storage found) {
        _known(id);
        found = _state().versions[id][number];
        if (found.fromBlock == 0) revert DatasetVersionUnknown(id, number);
    }

    function _memberAccount(MemberId owner) private view returns (address) {
        return IMembership(_contractOf(MEMBERSHIP)).member(owner).account;
    }

    function _sites() private view returns (ISiteRegistry) {
        return ISiteRegistry(_contractOf(SITES));
    }

    function _state() private pure returns (DatasetRegistryStorage storage $) {
        assembly {
            $.slot := DATASET_REGISTRY_SLOT
        }
    }
}
