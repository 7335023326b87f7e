// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IConsentRegistry} from "../interfaces/IConsentRegistry.sol";
import {IJobRegistry} from "../interfaces/IJobRegistry.sol";
import {GrantId, JobId} from "../interfaces/Types.sol";
import {Institutions} from "./Institutions.sol";
import {VM} from "./Vm.sol";

/// @title However grants, jobs, starts and revocations interleave: no use too many, and no job without its grants.
contract GrantsTest {
    Institutions private _institutions;

    function setUp() external {
        _institutions = new Institutions();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_institutions);
    }

    function invariant_uses_are_the_starts_and_no_job_runs_without_its_grants() external {
        require(bytes(_institutions.wrong()).length == 0, _institutions.wrong());
        (IConsentRegistry consents, IJobRegistry jobs, uint256 time, uint256 blockNumber) = _institutions.registries();
        VM.warp(time);
        VM.roll(blockNumber);
        for (uint256 i = 0; i < _institutions.grantCount(); ++i) {
            GrantId id = _institutions.grants(i);
            IConsentRegistry.Record memory found = consents.record(id);
            require(found.used == _institutions.startedUnder(id), "uses are not the starts");
            require(found.used <= found.grant.uses, "overspent");
        }
        for (uint256 i = 0; i < _institutions.jobCount(); ++i) {
            _checkRunnable(jobs, _institutions.jobIds(i));
        }
    }

    /// @dev Without starts the invariant would say nothing.
    function test_the_institutions_start_jobs_and_are_refused() external {
        for (uint256 seed = 0; seed < 40; ++seed) {
            _institutions.begin(uint256(keccak256(abi.encode(seed))), seed);
        }
        require(bytes(_institutions.wrong()).length == 0, _institutions.wrong());
        require(_institutions.starts() >= 3, "too few starts");
    }

    function _checkRunnable(IJobRegistry jobs, JobId id) private view {
        IJobRegistry.State state = jobs.state(id);
        bool isOpen = state == IJobRegistry.State.Proposed || state == IJobRegistry.State.Approved
            || state == IJobRegistry.State.Running;
        try jobs.requireRunnable(id) {
            require(isOpen && _institutions.mayRun(id), "a job is said to run that may not");
        } catch {
            require(!isOpen || !_institutions.mayRun(id), "a job that may run is stopped");
        }
    }
}
