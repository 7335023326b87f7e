// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Governed} from "./Governed.sol";
import {JOBS, SITES} from "./Names.sol";
import {IJobRegistry} from "./interfaces/IJobRegistry.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {ISiteRegistry} from "./interfaces/ISiteRegistry.sol";
import {JobId, ModelId, SiteId} from "./interfaces/Types.sol";
import {Ids} from "./libraries/Ids.sol";

/// @title Models and where they come from.
contract ModelRegistry is IModelRegistry, Governed {
    uint256 private constant MAX_PARENTS = 16;

    /// @custom:storage-location erc7201:fatechain.storage.ModelRegistry
    struct ModelRegistryStorage {
        mapping(ModelId id => Model) models;
        mapping(JobId job => ModelId[]) byJob;
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.ModelRegistry")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant MODEL_REGISTRY_SLOT = 0x1a08133581b70de61502b3c1998f92683f0de74abb0ca7d0a5fd35e206587c00;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
    }

    function register(JobId job, SiteId site, bytes32 modelDigest, ModelId[] calldata parents, uint256 nonce)
        external
        returns (ModelId id)
    {
        _sites().requireOperator(site, msg.sender);
        _requirePartyOfSuccess(job, site);
        if (parents.length > MAX_PARENTS) revert ModelTooManyParents(parents.length, MAX_PARENTS);
        for (uint256 i = 0; i < parents.length; ++i) {
            _known(parents[i]);
        }
        id = modelIdFor(msg.sender, nonce);
        ModelRegistryStorage storage $ = _state();
        if ($.models[id].fromBlock != 0) revert ModelTaken(id);

        $.models[id] = Model(modelDigest, job, site, uint64(block.number), 0, parents);
        $.byJob[job].push(id);
        emit ModelRegistered(id, job, modelDigest, site);
    }

    /// @dev By the operator of the site that registered it, active or not.
    function withdraw(ModelId id, SiteId site) external {
        Model storage found = _known(id);
        if (found.registrar != site) revert ModelNotRegistrar(id, site);
        SiteId caller = _sites().siteOf(msg.sender);
        if (caller != site) revert ModelNotRegistrar(id, caller);
        if (found.untilBlock != 0) revert ModelEnded(id, found.untilBlock);
        found.untilBlock = uint64(block.number);
        emit ModelWithdrawn(id);
    }

    function modelIdFor(address operator, uint256 nonce) public view returns (ModelId) {
        return ModelId.wrap(Ids.derive(operator, nonce));
    }

    function model(ModelId id) external view returns (Model memory) {
        return _known(id);
    }

    function modelsOf(JobId job) external view returns (ModelId[] memory) {
        return _state().byJob[job];
    }

    /// @dev Every party of a job that succeeded had approved it.
    function _requirePartyOfSuccess(JobId job, SiteId site) private view {
        IJobRegistry jobs = IJobRegistry(_contractOf(JOBS));
        if (jobs.state(job) != IJobRegistry.State.Succeeded) revert ModelJobNotSucceeded(job);
        if (jobs.approvedAt(job, site) == 0) revert ModelNotParty(job, site);
    }

    function _known(ModelId id) private view returns (Model storage found) {
        found = _state().models[id];
        if (found.fromBlock == 0) revert ModelUnknown(id);
    }

    function _sites() private view returns (ISiteRegistry) {
        return ISiteRegistry(_contractOf(SITES));
    }

    function _state() private pure returns (ModelRegistryStorage storage $) {
        assembly {
            $.slot := MODEL_REGISTRY_SLOT
        }
    }
}
