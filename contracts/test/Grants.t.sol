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

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(_institutions), new bytes4[](1));
        targets[0].selectors[0] = Institutions.act.selector;
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

    /// @dev Called after each run of 64 calls: without starts, and starts that are refused, the invariant says nothing.
    /// How many there are is the fuzzer's luck (usually more than ten); that each kind happens is tested below.
    function afterInvariant() external view {
        require(_institutions.starts() > 0, "no starts");
        require(_institutions.refusals() > 0, "no refusals");
    }

    /// @dev Each kind of trouble, and none, comes between two approved jobs and their starts.
    function test_troubles_between_an_approval_and_a_start_stop_it() external {
        for (uint256 luck = 0; luck < 18; ++luck) {
            (uint256 starts, uint256 refusals) = (_institutions.starts(), _institutions.refusals());
            _institutions.race(3 * luck, luck);
            starts = _institutions.starts() - starts;
            refusals = _institutions.refusals() - refusals;
            require(starts + refusals == 2, "a start was not tried");
            require(luck < 9 ? starts == 0 : starts >= 1, "a trouble was none, or none was one");
        }
        require(_institutions.spent() >= 1, "no grant was used up");
        require(bytes(_institutions.wrong()).length == 0, _institutions.wrong());
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
