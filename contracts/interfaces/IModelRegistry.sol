// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {JobId, ModelId, SiteId} from "./Types.sol";

/// @title Models by digest, with their lineage.
interface IModelRegistry {
    struct Model {
        bytes32 modelDigest;
        JobId job;
        SiteId registrar;
        uint64 fromBlock;
        uint64 untilBlock; // 0: stands
        ModelId[] parents;
    }

    error ModelUnknown(ModelId id);
    error ModelTaken(ModelId id);
    error ModelJobNotSucceeded(JobId job);
    error ModelNotParty(JobId job, SiteId site);
    error ModelNotRegistrar(ModelId id, SiteId site);
    error ModelTooManyParents(uint256 found, uint256 allowed);
    error ModelEnded(ModelId id, uint64 atBlock);

    event ModelRegistered(ModelId indexed id, JobId indexed job, bytes32 indexed modelDigest, SiteId registrar);
    event ModelWithdrawn(ModelId indexed id);

    function modelIdFor(address operator, uint256 nonce) external view returns (ModelId);
    /// @notice By the operator of a party of a succeeded job.
    function register(JobId job, SiteId site, bytes32 modelDigest, ModelId[] calldata parents, uint256 nonce)
        external
        returns (ModelId);
    /// @notice By the operator of the site that registered it, active or not.
    function withdraw(ModelId id, SiteId site) external;
    function model(ModelId id) external view returns (Model memory);
    function modelsOf(JobId job) external view returns (ModelId[] memory);
}
