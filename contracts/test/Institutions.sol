// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ALL_MEMBERS, IConsentRegistry} from "../interfaces/IConsentRegistry.sol";
import {IDatasetRegistry} from "../interfaces/IDatasetRegistry.sol";
import {IJobRegistry} from "../interfaces/IJobRegistry.sol";
import {IMembership} from "../interfaces/IMembership.sol";
import {DatasetId, GrantId, JobId, KeyId, MemberId, SiteId, Word} from "../interfaces/Types.sol";
import {Founded} from "./Founded.sol";
import {VM} from "./Vm.sol";

/// @title Three institutions that grant, revoke, amend, propose, start, stop and are stopped, in any order.
/// @notice It keeps a ledger of its own of what was revoked, amended and started, and says for each job whether it may run.
contract Institutions is Founded {
    uint256 public constant PERSONS = 3;
    uint256 private constant MOST = 8; // the last grants and jobs are looked at
    uint256 private constant TROUBLES = 9;
    bytes32 private constant SPECIFICATION = keccak256("specification");

    struct Known {
        MemberId member;
        SiteId site;
        DatasetId[2] datasets;
        KeyId key; // 0: revoked
        uint256 keys;
    }

    Known[PERSONS] private _known;
    GrantId[] public grants;
    JobId[] public jobIds;
    string public wrong;
    uint256 public starts;
    uint256 public refusals; // of starts
    uint256 public spent; // of them, those of approved jobs whose grants had no use left
    uint256 private _granted;
    uint256 private _proposed;

    mapping(GrantId id => uint256) public startedUnder;
    mapping(GrantId id => bool) public ended; // revoked or amended
    mapping(JobId id => IJobRegistry.State) private _last;
    uint256 private _time;
    uint256 private _block;

    constructor() {
        _deploy();
        VM.prank(DEPLOYER);
        consortium.setMinimum(Word.wrap("pause-seconds"), 20);
        for (uint256 person = 1; person <= PERSONS; ++person) {
            Known storage found = _known[person - 1];
            found.member = _admit(person);
            found.site = _registerSite(person);
            found.key = sites.keys(found.site)[0].id;
            for (uint256 i = 0; i < 2; ++i) {
                found.datasets[i] = _registerDataset(found.site, person);
            }
        }
        _remember();
    }

    modifier timed() {
        VM.warp(_time);
        VM.roll(_block);
        _;
        _remember();
    }

    /// @notice Whatever happens next: a race every fourth time.
    function act(uint256 what, uint256 seed, uint256 luck) external {
        what = _draw(what, "what", 24);
        if (what < 6) race(seed, uint256(keccak256(abi.encode(luck))));
        else if (what < 9) grant(seed);
        else if (what < 11) revoke(seed, luck);
        else if (what == 11) withdrawVersion(seed);
        else if (what == 12) addVersion(seed);
        else if (what < 15) propose(seed, luck);
        else if (what == 15) approve(seed);
        else if (what == 16) start(seed);
        else if (what == 17) attest(seed, luck);
        else if (what == 18) end(seed, luck, luck / PERSONS);
        else if (what == 19) rule(seed);
        else if (what == 20) move(seed);
        else if (what == 21) turnKey(seed);
        else if (what == 22) pull(seed);
        else pass(seed);
    }

    function pass(uint256 blocks) public timed {
        _pass(1 + blocks % 20);
    }

    // ------------------------------------------------------------------ owners

    function grant(uint256 seed) public timed {
        uint256 owner = seed % PERSONS;
        IConsentRegistry.Grant memory terms;
        terms.datasetId = _known[owner].datasets[_draw(seed, "dataset", 2)];
        terms.fromVersion = 1;
        terms.toVersion = uint32(1 + _draw(seed, "to", 2));
        uint256 grantee = _draw(seed, "grantee", PERSONS + 2);
        terms.grantee = grantee < PERSONS ? _known[grantee].member : ALL_MEMBERS;
        terms.purposes = _words(_draw(seed, "purposes", 4));
        terms.algorithms = _digests(_draw(seed, "algorithms", 4));
        terms.until = uint64(block.timestamp + 1 + _draw(seed, "until", 150));
        terms.uses = uint32(1 + _draw(seed, "uses", 3));
        terms.minParties = uint8(_draw(seed, "parties", 4));
        if (grants.length != 0 && _draw(seed, "amends", 4) == 0) terms.amends = grants[_draw(seed, "which", grants.length)];
        terms.nonce = _fresh();
        try consents.grant(terms, _signed(owner + 1, consents.digest(terms))) returns (GrantId id) {
            _keep(id);
            if (GrantId.unwrap(terms.amends) != 0) {
                if (ended[terms.amends]) wrong = "an ended grant was amended";
                ended[terms.amends] = true;
            }
        } catch {}
    }

    function revoke(uint256 seed, uint256 person) public timed {
        if (grants.length == 0) return;
        GrantId id = grants[seed % grants.length];
        MemberId owner = consents.record(id).owner;
        VM.prank(_account(1 + person % PERSONS));
        try consents.revoke(id) {
            if (owner != _known[person % PERSONS].member) wrong = "somebody revoked another's grant";
            ended[id] = true;
        } catch {}
    }

    function withdrawVersion(uint256 seed) public timed {
        Known storage found = _known[seed % PERSONS];
        VM.prank(_account(1 + seed % PERSONS));
        try datasets.withdrawVersion(found.datasets[_draw(seed, "dataset", 2)], 1) {} catch {}
    }

    function addVersion(uint256 seed) public timed {
        _addVersion(seed % PERSONS, _draw(seed, "dataset", 2));
    }

    // ------------------------------------------------------------------ jobs

    /// @dev `luck` draws which grant each use names: at times one that fits, at times any.
    function propose(uint256 seed, uint256 luck) public timed {
        uint256 guest = seed % PERSONS;
        IJobRegistry.Proposal memory proposal;
        proposal.specification = SPECIFICATION;
        proposal.algorithm = _draw(seed, "algorithm", 3) == 0 ? OTHER_ALGORITHM : ALGORITHM;
        proposal.purpose = _draw(seed, "purpose", 3) == 0 ? QUALITY : TRAINING;
        proposal.deadline = uint64(block.timestamp + 1 + _draw(seed, "deadline", 120));
        proposal.parties = _parties(guest, 1 + _draw(seed, "hosts", PERSONS - 1));
        proposal.uses = new IJobRegistry.Use[](proposal.parties.length);
        for (uint256 i = 0; i < proposal.uses.length; ++i) {
            uint256 holder = (guest + i) % PERSONS;
            DatasetId dataset = _known[holder].datasets[_draw(seed, "dataset", 2)];
            GrantId named = i == 0 ? GrantId.wrap(0) : _pick(dataset, uint256(keccak256(abi.encode(luck, i))));
            proposal.uses[i] = IJobRegistry.Use(uint8(i), dataset, uint32(1 + _draw(seed, "version", 5) / 4), named);
        }
        proposal.nonce = _fresh();
        VM.prank(_account(NODE + 1 + guest));
        try jobs.propose(proposal) returns (JobId id) {
            _keep(id);
            if (!_mayRun(id, false)) wrong = "a job was proposed that may not run";
        } catch {}
    }

    function approve(uint256 seed) public timed {
        if (jobIds.length == 0) return;
        JobId id = _job(seed);
        for (uint256 person = 1; person <= PERSONS; ++person) {
            VM.prank(_account(NODE + person));
            try jobs.approve(id, _known[person - 1].site, SPECIFICATION) {} catch {}
        }
    }

    function start(uint256 seed) public timed {
        if (jobIds.length == 0) return;
        _start(_job(seed));
    }

    /// @dev Two jobs under the same fresh grants, approved by all; then something happens, and both would start.
    function race(uint256 seed, uint256 luck) public timed {
        seed %= type(uint128).max; // room to count from it
        _mend();
        uint256 hosts = 1 + _draw(seed, "hosts", PERSONS - 1);
        GrantId[] memory given = new GrantId[](1 + hosts);
        for (uint256 i = 1; i <= hosts; ++i) {
            given[i] = _give((seed + i) % PERSONS, _known[seed % PERSONS].member, seed);
        }
        JobId first = _proposeUnder(seed % PERSONS, given);
        JobId second = _proposeUnder(seed % PERSONS, given);
        _trouble(luck, (seed + 1) % PERSONS, given[1]);
        _start(first);
        _start(second);
    }

    function attest(uint256 seed, uint256 person) public timed {
        if (jobIds.length == 0) return;
        JobId id = _job(seed);
        IJobRegistry.State before = jobs.state(id);
        VM.prank(_account(NODE + 1 + person % PERSONS));
        try jobs.attest(id, _known[person % PERSONS].site, bytes32("result")) {
            if (before != IJobRegistry.State.Running) wrong = "a job was attested that does not run";
            if (brake.isPaused()) wrong = "a job was attested under the brake";
        } catch {}
    }

    function end(uint256 seed, uint256 person, uint256 how) public timed {
        if (jobIds.length == 0) return;
        JobId id = _job(seed);
        SiteId site = _known[person % PERSONS].site;
        VM.prank(_account(NODE + 1 + person % PERSONS));
        if (how % 4 == 0) try jobs.reject(id, site, "no") {} catch {}
        else if (how % 4 == 1) try jobs.fail(id, site, "lost") {} catch {}
        else if (how % 4 == 2) try jobs.cancel(id, site, "done") {} catch {}
        else try jobs.expire(id) {} catch {}
    }

    // ------------------------------------------------------------------ the consortium

    function rule(uint256 seed) public timed {
        bool isAllowed = consortium.isAlgorithmAllowed(ALGORITHM);
        bool isPurpose = consortium.isPurposeAllowed(TRAINING);
        VM.startPrank(DEPLOYER); // the founding authority: it was not handed over here
        if (seed % 4 == 0) isAllowed ? consortium.forbidAlgorithm(ALGORITHM) : consortium.allowAlgorithm(ALGORITHM, "again");
        if (seed % 4 == 1) isPurpose ? consortium.withdrawPurpose(TRAINING) : consortium.allowPurpose(TRAINING);
        if (seed % 4 == 2 && !isAllowed) consortium.allowAlgorithm(ALGORITHM, "again");
        if (seed % 4 == 3 && !isPurpose) consortium.allowPurpose(TRAINING);
        VM.stopPrank();
    }

    function move(uint256 seed) public timed {
        MemberId member = _known[seed % PERSONS].member;
        bool isActive = membership.standing(member) == IMembership.Standing.Active;
        VM.prank(DEPLOYER);
        if (isActive) try membership.suspend(member) {} catch {}
        else membership.reinstate(member);
    }

    function turnKey(uint256 seed) public timed {
        _turnKey(seed % PERSONS);
    }

    function pull(uint256 person) public timed {
        VM.prank(_account(1 + person % PERSONS));
        try brake.pull("now") {} catch {}
    }

    // ------------------------------------------------------------------ reading

    function grantCount() external view returns (uint256) {
        return grants.length;
    }

    function jobCount() external view returns (uint256) {
        return jobIds.length;
    }

    function registries() external view returns (IConsentRegistry, IJobRegistry, uint256 time, uint256 blockNumber) {
        return (consents, jobs, _time, _block);
    }

    /// @notice Whether the job may run now, by the facts of the registries and our own ledger of grants.
    function mayRun(JobId id) external view returns (bool) {
        return _mayRun(id, jobs.job(id).state == IJobRegistry.State.Running);
    }

    // ------------------------------------------------------------------ may it run?

    function _start(JobId id) private {
        bool isApproved = jobs.state(id) == IJobRegistry.State.Approved;
        bool expected = isApproved && _mayRun(id, false);
        IJobRegistry.Use[] memory uses = jobs.uses(id);
        VM.prank(sites.site(jobs.job(id).proposer).operator);
        try jobs.start(id) {
            if (!expected) wrong = "a job started that may not run";
            ++starts;
            for (uint256 i = 0; i < uses.length; ++i) {
                bool first = true;
                for (uint256 j = 0; j < i; ++j) {
                    if (uses[j].grant == uses[i].grant) first = false;
                }
                if (first) ++startedUnder[uses[i].grant];
            }
        } catch {
            if (expected) wrong = "a job that may run did not start";
            ++refusals;
            if (isApproved && _mayRun(id, true)) ++spent;
        }
    }

    function _mayRun(JobId id, bool isRunning) private view returns (bool) {
        IJobRegistry.Job memory job = jobs.job(id);
        if (brake.isPaused()) return false;
        if (!consortium.isAlgorithmAllowed(job.algorithm) || !consortium.isPurposeAllowed(job.purpose)) return false;
        IJobRegistry.Party[] memory parties = jobs.parties(id);
        for (uint256 i = 0; i < parties.length; ++i) {
            if (!_stands(parties[i].site)) return false;
        }
        IJobRegistry.Use[] memory uses = jobs.uses(id);
        for (uint256 i = 0; i < uses.length; ++i) {
            IDatasetRegistry.Dataset memory dataset = datasets.dataset(uses[i].datasetId);
            if (dataset.versions < uses[i].version) return false;
            if (datasets.version(uses[i].datasetId, uses[i].version).untilBlock != 0) return false;
            if (dataset.owner == job.member) continue;
            // Our sites are of different members each.
            if (!_isGranted(uses[i], job, parties.length, isRunning)) return false;
        }
        return true;
    }

    function _stands(SiteId site) private view returns (bool) {
        for (uint256 i = 0; i < PERSONS; ++i) {
            if (_known[i].site != site) continue;
            return KeyId.unwrap(_known[i].key) != 0
                && membership.standing(_known[i].member) == IMembership.Standing.Active;
        }
        return false;
    }

    function _isGranted(IJobRegistry.Use memory use, IJobRegistry.Job memory job, uint256 parties, bool isRunning)
        private
        view
        returns (bool)
    {
        if (GrantId.unwrap(use.grant) == 0 || ended[use.grant]) return false;
        IConsentRegistry.Grant memory terms = consents.record(use.grant).grant;
        if (terms.datasetId != use.datasetId || block.timestamp >= terms.until) return false;
        if (use.version < terms.fromVersion || use.version > terms.toVersion) return false;
        if (terms.grantee != ALL_MEMBERS && terms.grantee != job.member) return false;
        if (parties < terms.minParties) return false;
        if (!isRunning && startedUnder[use.grant] >= terms.uses) return false;
        bool purpose = false;
        for (uint256 i = 0; i < terms.purposes.length; ++i) {
            purpose = purpose || terms.purposes[i] == job.purpose;
        }
        bool algorithm = false;
        for (uint256 i = 0; i < terms.algorithms.length; ++i) {
            algorithm = algorithm || terms.algorithms[i] == job.algorithm;
        }
        return purpose && algorithm;
    }

    // ------------------------------------------------------------------ a race

    /// @dev Everything stands: else each disturbance would be the last thing that happens.
    function _mend() private {
        if (brake.isPaused()) VM.warp(brake.pausedUntil());
        VM.startPrank(DEPLOYER);
        if (!consortium.isAlgorithmAllowed(ALGORITHM)) consortium.allowAlgorithm(ALGORITHM, "again");
        if (!consortium.isPurposeAllowed(TRAINING)) consortium.allowPurpose(TRAINING);
        for (uint256 i = 0; i < PERSONS; ++i) {
            if (membership.standing(_known[i].member) == IMembership.Standing.Suspended) {
                membership.reinstate(_known[i].member);
            }
        }
        VM.stopPrank();
        for (uint256 i = 0; i < PERSONS; ++i) {
            if (KeyId.unwrap(_known[i].key) == 0) _turnKey(i);
            _addVersion(i, 0);
        }
    }

    function _give(uint256 owner, MemberId grantee, uint256 seed) private returns (GrantId id) {
        IConsentRegistry.Grant memory terms;
        terms.datasetId = _known[owner].datasets[0];
        terms.fromVersion = 1;
        terms.toVersion = uint32(datasets.dataset(terms.datasetId).versions);
        terms.grantee = _draw(seed, "all", 2) == 0 ? grantee : ALL_MEMBERS;
        terms.purposes = _words(0);
        terms.algorithms = _digests(0);
        terms.until = uint64(block.timestamp + 10 + _draw(seed, "until", 100));
        terms.uses = uint32(1 + _draw(seed, "uses", 2));
        terms.nonce = _fresh();
        id = consents.grant(terms, _signed(owner + 1, consents.digest(terms)));
        _keep(id);
    }

    function _proposeUnder(uint256 guest, GrantId[] memory given) private returns (JobId id) {
        IJobRegistry.Proposal memory proposal;
        proposal.specification = SPECIFICATION;
        proposal.algorithm = ALGORITHM;
        proposal.purpose = TRAINING;
        proposal.deadline = uint64(block.timestamp + 500);
        proposal.parties = _parties(guest, given.length - 1);
        proposal.uses = new IJobRegistry.Use[](given.length);
        for (uint256 i = 0; i < given.length; ++i) {
            DatasetId dataset = _known[(guest + i) % PERSONS].datasets[0];
            proposal.uses[i] = IJobRegistry.Use(uint8(i), dataset, datasets.dataset(dataset).versions, given[i]);
        }
        proposal.nonce = _fresh();
        VM.prank(_account(NODE + 1 + guest));
        id = jobs.propose(proposal);
        _keep(id);
        for (uint256 i = 0; i < given.length; ++i) {
            uint256 person = (guest + i) % PERSONS;
            if (jobs.state(id) != IJobRegistry.State.Proposed) return id;
            VM.prank(_account(NODE + 1 + person));
            try jobs.approve(id, _known[person].site, SPECIFICATION) {} catch {}
        }
    }

    /// @dev Mostly nothing at all.
    function _trouble(uint256 luck, uint256 owner, GrantId given) private {
        uint256 which = luck % (3 * TROUBLES);
        if (which == 0) {
            VM.prank(_account(1 + owner));
            consents.revoke(given);
            ended[given] = true;
        } else if (which == 1) {
            IConsentRegistry.Grant memory terms = consents.record(given).grant;
            terms.amends = given;
            terms.nonce = _fresh();
            _keep(consents.grant(terms, _signed(owner + 1, consents.digest(terms))));
            ended[given] = true;
        } else if (which == 2) {
            VM.prank(DEPLOYER);
            membership.suspend(_known[owner].member);
        } else if (which == 3) {
            DatasetId dataset = _known[owner].datasets[0];
            uint32 newest = datasets.dataset(dataset).versions;
            VM.prank(_account(1 + owner));
            datasets.withdrawVersion(dataset, newest);
        } else if (which == 4) {
            _turnKey(owner);
        } else if (which == 5) {
            VM.prank(DEPLOYER);
            consortium.forbidAlgorithm(ALGORITHM);
        } else if (which == 6) {
            VM.prank(DEPLOYER);
            consortium.withdrawPurpose(TRAINING);
        } else if (which == 7) {
            _pass(consents.record(given).grant.until - block.timestamp);
        } else if (which == 8) {
            for (uint256 person = 1; person <= PERSONS; ++person) {
                VM.prank(_account(person));
                try brake.pull("now") {} catch {}
            }
        }
    }

    function _turnKey(uint256 person) private {
        Known storage found = _known[person];
        VM.prank(_account(1 + person));
        if (KeyId.unwrap(found.key) != 0) {
            sites.revokeKey(found.site, found.key);
            found.key = KeyId.wrap(0);
        } else {
            bytes memory fresh = abi.encode(person, ++found.keys, "next");
            try sites.addKey(found.site, Word.wrap("request"), fresh, "proof") returns (KeyId key) {
                found.key = key;
            } catch {}
        }
    }

    function _addVersion(uint256 person, uint256 which) private {
        DatasetId dataset = _known[person].datasets[which];
        VM.prank(_account(NODE + 1 + person));
        try datasets.addVersion(dataset, keccak256("s"), keccak256("r"), 5, 5) returns (uint32) {} catch {}
    }

    // ------------------------------------------------------------------ inside

    /// @dev The oldest makes room for the newest.
    function _keep(GrantId id) private {
        if (grants.length < MOST) grants.push(id);
        else grants[_granted % MOST] = id;
        ++_granted;
    }

    function _keep(JobId id) private {
        if (jobIds.length < MOST) jobIds.push(id);
        else jobIds[_proposed % MOST] = id;
        ++_proposed;
    }

    /// @dev Jobs move as the table of IJobRegistry says.
    function _remember() private {
        _time = block.timestamp;
        _block = block.number;
        for (uint256 i = 0; i < jobIds.length; ++i) {
            IJobRegistry.State to = jobs.state(jobIds[i]);
            if (!_isMove(_last[jobIds[i]], to)) wrong = "a job moved as no job moves";
            _last[jobIds[i]] = to;
        }
    }

    function _isMove(IJobRegistry.State from, IJobRegistry.State to) private pure returns (bool) {
        if (from == to || from == IJobRegistry.State.None) return true;
        // Proposed, Approved and Running follow one another, several in one call of ours at times.
        if (from > IJobRegistry.State.Running) return false;
        if (to == IJobRegistry.State.Rejected) return from == IJobRegistry.State.Proposed;
        if (to == IJobRegistry.State.Succeeded || to == IJobRegistry.State.Failed) return from == IJobRegistry.State.Running;
        return to > from;
    }

    function _parties(uint256 guest, uint256 hosts) private view returns (IJobRegistry.Party[] memory all) {
        all = new IJobRegistry.Party[](1 + hosts);
        for (uint256 i = 0; i < all.length; ++i) {
            all[i] = IJobRegistry.Party(_known[(guest + i) % PERSONS].site, Word.wrap(i == 0 ? bytes32("guest") : bytes32("host")));
        }
    }

    /// @dev Mostly the newest of this dataset that did not end; else any or none.
    function _pick(DatasetId dataset, uint256 luck) private view returns (GrantId) {
        if (grants.length == 0 || luck % 16 == 0) return GrantId.wrap(0);
        if (luck % 4 == 1) return grants[luck % grants.length];
        for (uint256 i = grants.length; i > 0; --i) {
            if (ended[grants[i - 1]]) continue;
            if (consents.record(grants[i - 1]).grant.datasetId == dataset) return grants[i - 1];
        }
        return grants[luck % grants.length];
    }

    function _job(uint256 seed) private view returns (JobId) {
        return jobIds[seed % jobIds.length];
    }

    function _draw(uint256 seed, string memory what, uint256 below) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, what))) % below;
    }

    function _words(uint256 which) private pure returns (Word[] memory all) {
        all = new Word[](which == 0 ? 2 : 1);
        all[0] = which == 1 ? QUALITY : TRAINING;
        if (which == 0) all[1] = QUALITY;
    }

    function _digests(uint256 which) private pure returns (bytes32[] memory all) {
        all = new bytes32[](which == 0 ? 2 : 1);
        all[0] = which == 1 ? OTHER_ALGORITHM : ALGORITHM;
        if (which == 0) all[1] = OTHER_ALGORITHM;
    }
}
