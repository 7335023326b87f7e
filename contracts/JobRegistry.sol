// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Governed} from "./Governed.sol";
import {ARBITER, ATTESTATIONS, BRAKE, CONSENTS, DATASETS, GUEST, HOST, SITES} from "./Names.sol";
import {IAttestations} from "./interfaces/IAttestations.sol";
import {IBrake} from "./interfaces/IBrake.sol";
import {IConsentRegistry} from "./interfaces/IConsentRegistry.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";
import {IDatasetRegistry} from "./interfaces/IDatasetRegistry.sol";
import {IJobRegistry} from "./interfaces/IJobRegistry.sol";
import {ISiteRegistry} from "./interfaces/ISiteRegistry.sol";
import {GrantId, JobId, MemberId, SiteId} from "./interfaces/Types.sol";
import {Ids} from "./libraries/Ids.sol";
import {Pages} from "./libraries/Pages.sol";

/// @title The life of a job.
/// @notice What moves a job on needs an active site's operator; what stops it (reject, fail, cancel) needs only the
/// operator of a party, so that a suspended or retired site can still withdraw.
contract JobRegistry is IJobRegistry, Governed {
    using Pages for bytes32[];

    uint256 private constant MAX_PARTIES = 16;
    uint256 private constant MAX_USES = 32;
    uint64 private constant MAX_AHEAD = 30 days;
    bytes32 private constant RESULT_MISMATCH = "ResultMismatch";

    struct Attestation {
        bytes32 result;
        uint64 atBlock;
    }

    struct JobRecord {
        Job job;
        Party[] parties;
        Use[] uses;
        uint8 approvals;
        uint8 attestations;
        mapping(SiteId site => uint64) approvedAt;
        mapping(SiteId site => Attestation) attested;
    }

    /// @custom:storage-location erc7201:fatechain.storage.JobRegistry
    struct JobRegistryStorage {
        mapping(JobId id => JobRecord) jobs;
        bytes32[] list;
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.JobRegistry")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant JOB_REGISTRY_SLOT = 0xa7d3812b81d46d1f3e5684bfdb9d7a3cb731902f78eec9445de55651ebda2800;

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
    }

    // ------------------------------------------------------------------ towards a result

    function propose(Proposal calldata proposal) external returns (JobId id) {
        id = jobIdFor(msg.sender, proposal.nonce);
        JobRecord storage found = _state().jobs[id];
        if (found.job.state != State.None) revert JobTaken(id);
        _checkDeadline(id, proposal.deadline);
        _checkParties(proposal.parties);
        _sites().requireOperator(proposal.parties[0].site, msg.sender);

        _record(id, found, proposal);
        _check(found, false);
        _approve(id, found, proposal.parties[0].site);
    }

    function approve(JobId id, SiteId site, bytes32 specification) external {
        JobRecord storage found = _in(id, State.Proposed);
        _requireReleased();
        _requireActiveParty(id, found, site);
        if (specification != found.job.specification) {
            revert JobWrongSpecification(id, specification, found.job.specification);
        }
        if (found.approvedAt[site] != 0) revert JobAlreadyApproved(id, site);
        _approve(id, found, site);
    }

    function start(JobId id) external {
        JobRecord storage found = _in(id, State.Approved);
        SiteId caller = _sites().siteOf(msg.sender);
        if (caller != found.job.proposer) revert JobNotProposer(id, caller);
        uint256 institutions = _check(found, false);

        found.job.state = State.Running;
        found.job.startedAt = uint64(block.number);
        _consume(id, found, institutions);
        emit JobStarted(id);
    }

    function attest(JobId id, SiteId site, bytes32 result) external {
        JobRecord storage found = _in(id, State.Running);
        _requireReleased();
        _requireActiveParty(id, found, site);
        if (found.attested[site].atBlock != 0) revert JobAlreadyAttested(id, site);

        found.attested[site] = Attestation(result, uint64(block.number));
        found.attestations += 1;
        emit JobAttested(id, site, result);
        if (found.attestations == found.parties.length) _conclude(id, found, site, result);
    }

    // ------------------------------------------------------------------ towards an end without one

    function reject(JobId id, SiteId site, bytes32 reason) external {
        JobRecord storage found = _in(id, State.Proposed);
        _requireParty(id, found, site);
        _end(found, State.Rejected, site, reason);
        emit JobRejected(id, site, reason);
    }

    function fail(JobId id, SiteId site, bytes32 reason) external {
        JobRecord storage found = _in(id, State.Running);
        _requireParty(id, found, site);
        _end(found, State.Failed, site, reason);
        emit JobFailed(id, site, reason);
    }

    function cancel(JobId id, SiteId site, bytes32 reason) external {
        JobRecord storage found = _open(id);
        _requireParty(id, found, site);
        _end(found, State.Cancelled, site, reason);
        emit JobCancelled(id, site, reason);
    }

    function expire(JobId id) external {
        JobRecord storage found = _known(id);
        if (!_isOpen(found.job.state)) revert JobWrongState(id, found.job.state, "Proposed, Approved, Running");
        if (_stateOf(found) != State.Expired) revert JobDeadlineNotPassed(id, found.job.deadline);
        _end(found, State.Expired, SiteId.wrap(0), 0);
        emit JobExpired(id);
    }

    // ------------------------------------------------------------------ reading

    function jobIdFor(address operator, uint256 nonce) public view returns (JobId) {
        return JobId.wrap(Ids.derive(operator, nonce));
    }

    function job(JobId id) external view returns (Job memory) {
        return _known(id).job;
    }

    function state(JobId id) external view returns (State) {
        return _stateOf(_state().jobs[id]);
    }

    function parties(JobId id) external view returns (Party[] memory) {
        return _known(id).parties;
    }

    function uses(JobId id) external view returns (Use[] memory) {
        return _known(id).uses;
    }

    function approvedAt(JobId id, SiteId site) external view returns (uint64) {
        return _known(id).approvedAt[site];
    }

    function attestation(JobId id, SiteId site) external view returns (bytes32 result, uint64 atBlock) {
        Attestation storage found = _known(id).attested[site];
        return (found.result, found.atBlock);
    }

    function requireRunnable(JobId id) external view {
        JobRecord storage found = _open(id);
        _check(found, found.job.state == State.Running);
    }

    function jobCount() external view returns (uint256) {
        return _state().list.length;
    }

    function jobs(uint256 offset, uint256 limit) external view returns (JobId[] memory page) {
        bytes32[] memory raw = _state().list.slice(offset, limit);
        assembly ("memory-safe") {
            page := raw
        }
    }

    // ------------------------------------------------------------------ may it run, in this block?

    /// @dev Reverts with the first reason why not; `consumed`: its uses of the grants are already counted. Returns how many
    /// different members take part.
    function _check(JobRecord storage found, bool consumed) private view returns (uint256 institutions) {
        _requireReleased();
        IConsortium rules = _consortium();
        Job storage job_ = found.job;
        if (!rules.isAlgorithmAllowed(job_.algorithm)) revert IConsortium.ConsortiumAlgorithmNotAllowed(job_.algorithm);
        if (!rules.isPurposeAllowed(job_.purpose)) revert IConsortium.ConsortiumPurposeNotAllowed(job_.purpose);
        institutions = _checkSites(found);
        for (uint256 i = 0; i < found.uses.length; ++i) {
            _checkUse(found, found.uses[i], institutions, consumed);
        }
    }

    /// @dev Every site active, every member attested; returns how many different members they belong to: two nodes of one
    /// institution are one party to a grant that asks for several.
    function _checkSites(JobRecord storage found) private view returns (uint256 institutions) {
        ISiteRegistry registry = _sites();
        uint256 length = found.parties.length;
        MemberId[] memory seen = new MemberId[](length);
        for (uint256 i = 0; i < length; ++i) {
            SiteId site = found.parties[i].site;
            registry.requireActive(site);
            MemberId owner = registry.memberOf(site);
            uint256 j = 0;
            while (j < institutions && seen[j] != owner) ++j;
            if (j == institutions) seen[institutions++] = owner;
        }
        IAttestations attestations = IAttestations(_contractOf(ATTESTATIONS));
        for (uint256 i = 0; i < institutions; ++i) {
            attestations.requireAll(seen[i]);
        }
    }

    function _requireReleased() private view {
        IBrake(_contractOf(BRAKE)).requireReleased();
    }

    function _checkUse(JobRecord storage found, Use memory use, uint256 institutions, bool consumed) private view {
        IDatasetRegistry registry = IDatasetRegistry(_contractOf(DATASETS));
        IDatasetRegistry.Dataset memory dataset = registry.dataset(use.datasetId);
        SiteId party = found.parties[use.party].site;
        if (dataset.site != party) revert JobUseNotHeld(use.datasetId, dataset.site, party);
        registry.requireStanding(use.datasetId, use.version);

        Job storage job_ = found.job;
        bool own = dataset.owner == job_.member;
        bool granted = GrantId.unwrap(use.grant) != 0;
        if (own && granted) revert JobUnexpectedGrant(use.datasetId, use.grant);
        if (!own && !granted) revert JobGrantMissing(use.datasetId, dataset.owner, job_.member);
        if (granted) _checkGrant(job_, use, institutions, consumed);
    }

    function _checkGrant(Job storage job_, Use memory use, uint256 institutions, bool consumed) private view {
        IConsentRegistry registry = _consents();
        (consumed ? registry.requireStanding : registry.requireUsable)(
            use.grant, job_.member, use.datasetId, use.version, job_.purpose, job_.algorithm, institutions
        );
    }

    /// @dev A grant counts starts of jobs: one that covers several uses of this job is consumed once.
    function _consume(JobId id, JobRecord storage found, uint256 institutions) private {
        for (uint256 i = 0; i < found.uses.length; ++i) {
            if (_isFirstUseOfGrant(found, i)) _consumeOne(id, found.job, found.uses[i], institutions);
        }
    }

    function _consumeOne(JobId id, Job storage job_, Use memory use, uint256 institutions) private {
        _consents().consume(
            use.grant,
            JobId.unwrap(id),
            job_.member,
            use.datasetId,
            use.version,
            job_.purpose,
            job_.algorithm,
            institutions
        );
    }

    function _isFirstUseOfGrant(JobRecord storage found, uint256 index) private view returns (bool) {
        GrantId grant = found.uses[index].grant;
        if (GrantId.unwrap(grant) == 0) return false;
        for (uint256 i = 0; i < index; ++i) {
            if (found.uses[i].grant == grant) return false;
        }
        return true;
    }

    // ------------------------------------------------------------------ states

    /// @dev The only place where Expired comes from the deadline.
    function _stateOf(JobRecord storage found) private view returns (State) {
        State stored = found.job.state;
        return _isOpen(stored) && block.timestamp >= found.job.deadline ? State.Expired : stored;
    }

    function _isOpen(State stored) private pure returns (bool) {
        return stored == State.Proposed || stored == State.Approved || stored == State.Running;
    }

    function _in(JobId id, State allowed) private view returns (JobRecord storage found) {
        found = _known(id);
        if (found.job.state != allowed) revert JobWrongState(id, found.job.state, _nameOf(allowed));
        if (_stateOf(found) != allowed) revert JobDeadlinePassed(id, found.job.deadline);
    }

    function _open(JobId id) private view returns (JobRecord storage found) {
        found = _known(id);
        if (!_isOpen(found.job.state)) revert JobWrongState(id, found.job.state, "Proposed, Approved, Running");
        if (_stateOf(found) == State.Expired) revert JobDeadlinePassed(id, found.job.deadline);
    }

    function _nameOf(State allowed) private pure returns (string memory) {
        if (allowed == State.Proposed) return "Proposed";
        return allowed == State.Approved ? "Approved" : "Running";
    }

    function _approve(JobId id, JobRecord storage found, SiteId site) private {
        found.approvedAt[site] = uint64(block.number);
        found.approvals += 1;
        emit JobApproval(id, site);
        if (found.approvals != found.parties.length) return;
        found.job.state = State.Approved;
        found.job.approvedAt = uint64(block.number);
        emit JobApproved(id);
    }

    function _conclude(JobId id, JobRecord storage found, SiteId last, bytes32 result) private {
        for (uint256 i = 0; i < found.parties.length; ++i) {
            if (found.attested[found.parties[i].site].result != result) {
                _end(found, State.Failed, last, RESULT_MISMATCH);
                emit JobFailed(id, last, RESULT_MISMATCH);
                return;
            }
        }
        _end(found, State.Succeeded, last, 0);
        emit JobSucceeded(id, result);
    }

    function _end(JobRecord storage found, State to, SiteId by, bytes32 reason) private {
        found.job.state = to;
        found.job.endedAt = uint64(block.number);
        found.job.endedBy = by;
        found.job.reason = reason;
    }

    // ------------------------------------------------------------------ proposals and callers

    function _checkDeadline(JobId id, uint64 deadline) private view {
        if (deadline <= block.timestamp) revert JobDeadlinePassed(id, deadline);
        uint64 latest = uint64(block.timestamp) + MAX_AHEAD;
        if (deadline > latest) revert JobDeadlineTooFar(deadline, latest);
    }

    function _checkParties(Party[] calldata all) private pure {
        if (all.length > MAX_PARTIES) revert JobTooManyParties(all.length, MAX_PARTIES);
        if (all.length < 2) revert JobBadParties("fewer than two");
        if (all[0].role != GUEST) revert JobBadParties("the first is not the guest");
        for (uint256 i = 1; i < all.length; ++i) {
            if (all[i].role == GUEST) revert JobBadParties("a second guest");
            if (all[i].role != HOST && all[i].role != ARBITER) revert JobBadParties("unknown role");
            for (uint256 j = 0; j < i; ++j) {
                if (all[i].site == all[j].site) revert JobDuplicateParty(all[i].site);
            }
        }
    }

    function _record(JobId id, JobRecord storage found, Proposal calldata proposal) private {
        uint256 count = proposal.uses.length;
        if (count > MAX_USES) revert JobTooManyUses(count, MAX_USES);
        SiteId proposer = proposal.parties[0].site;
        Job storage job_ = found.job;
        job_.proposer = proposer;
        job_.member = _sites().memberOf(proposer);
        job_.specification = proposal.specification;
        job_.algorithm = proposal.algorithm;
        job_.purpose = proposal.purpose;
        job_.deadline = proposal.deadline;
        job_.proposedAt = uint64(block.number);
        job_.state = State.Proposed;
        _state().list.push(JobId.unwrap(id));
        emit JobProposed(
            id, proposer, proposal.specification, proposal.algorithm, proposal.purpose, proposal.deadline
        );
        for (uint256 i = 0; i < proposal.parties.length; ++i) {
            found.parties.push(proposal.parties[i]);
            emit JobPartyAdded(id, proposal.parties[i].site, proposal.parties[i].role);
        }
        for (uint256 i = 0; i < count; ++i) {
            if (proposal.uses[i].party >= proposal.parties.length) revert JobBadParties("a use by nobody");
            found.uses.push(proposal.uses[i]);
        }
    }

    function _requireActiveParty(JobId id, JobRecord storage found, SiteId site) private view {
        if (!_isParty(found, site)) revert JobNotParty(id, site);
        _sites().requireOperator(site, msg.sender);
    }

    function _requireParty(JobId id, JobRecord storage found, SiteId site) private view {
        if (!_isParty(found, site)) revert JobNotParty(id, site);
        SiteId caller = _sites().siteOf(msg.sender);
        if (caller != site) revert JobNotParty(id, caller);
    }

    function _isParty(JobRecord storage found, SiteId site) private view returns (bool) {
        for (uint256 i = 0; i < found.parties.length; ++i) {
            if (found.parties[i].site == site) return true;
        }
        return false;
    }

    function _known(JobId id) private view returns (JobRecord storage found) {
        found = _state().jobs[id];
        if (found.job.state == State.None) revert JobUnknown(id);
    }

    function _sites() private view returns (ISiteRegistry) {
        return ISiteRegistry(_contractOf(SITES));
    }

    function _consents() private view returns (IConsentRegistry) {
        return IConsentRegistry(_contractOf(CONSENTS));
    }

    function _state() private pure returns (JobRegistryStorage storage $) {
        assembly {
            $.slot := JOB_REGISTRY_SLOT
        }
    }
}
