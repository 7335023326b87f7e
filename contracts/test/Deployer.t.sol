// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ERC1967Utils} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Utils.sol";

import {DatasetId, MemberId, SiteId, Word} from "../interfaces/Types.sol";
import {Founded} from "./Founded.sol";
import {VM} from "./Vm.sol";

/// @title Whatever the deployer calls after the hand-over, nothing is as it was not before.
/// @notice The engine calls every state-changing function of every contract in the deployer's name, with values that it
/// finds in the storage and the events.
contract DeployerTest is Founded {
    struct FuzzInterface {
        address addr;
        string[] artifacts;
    }

    MemberId[] private _members;
    SiteId private _site;
    DatasetId private _dataset;
    bytes32 private _before;

    function setUp() external {
        _deploy();
        for (uint256 person = 1; person <= 3; ++person) {
            _members.push(_admit(person));
        }
        _site = _registerSite(1);
        _dataset = _registerDataset(_site, 1);
        _handOver();
        _before = _facts();
    }

    function targetSenders() external pure returns (address[] memory senders) {
        senders = new address[](1);
        senders[0] = DEPLOYER;
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](2);
        targets[0] = address(governor);
        targets[1] = address(timelock);
    }

    /// @dev Behind a proxy the engine does not see what can be called.
    function targetInterfaces() external view returns (FuzzInterface[] memory targets) {
        (string[] memory names, address[] memory at) = _proxies();
        targets = new FuzzInterface[](names.length);
        for (uint256 i = 0; i < names.length; ++i) {
            targets[i] = FuzzInterface(at[i], new string[](1));
            targets[i].artifacts[0] = names[i];
        }
    }

    function invariant_the_deployer_has_no_power() external view {
        require(_facts() == _before, "the deployer changed something");
    }

    /// @dev It would fail for the deployer of a consortium that is not handed over.
    function test_a_deployer_without_a_hand_over_changes_the_facts() external {
        VM.prank(consortium.authority());
        consortium.setMinimum(Word.wrap("rows"), 7);
        require(_facts() != _before, "the facts miss a rule");
    }

    // ------------------------------------------------------------------ what is as it was

    function _facts() private view returns (bytes32) {
        return keccak256(abi.encode(_rules(), _people(), _government(), _counts(), _implementations()));
    }

    function _rules() private view returns (bytes memory) {
        return abi.encode(
            consortium.authority(),
            consortium.constitution(),
            consortium.isAlgorithmAllowed(ALGORITHM),
            consortium.isPurposeAllowed(TRAINING),
            consortium.isSchemeAdmitted(Word.wrap("paillier")),
            consortium.minimum(Word.wrap("rows")),
            attestations.requiredKinds(),
            brake.isPaused(),
            brake.voices()
        );
    }

    function _people() private view returns (bytes memory facts) {
        facts = abi.encode(membership.memberCount(), membership.activeCount(), membership.getVotes(DEPLOYER));
        for (uint256 i = 0; i < _members.length; ++i) {
            facts = abi.encode(facts, membership.member(_members[i]), membership.standing(_members[i]));
            facts = abi.encode(facts, reviews.people(_members[i]));
        }
        facts = abi.encode(facts, sites.site(_site), sites.keys(_site), datasets.dataset(_dataset));
    }

    function _government() private view returns (bytes memory facts) {
        facts = abi.encode(
            governor.votingDelay(),
            governor.votingPeriod(),
            governor.quorumMinimum(),
            governor.proposalThreshold(),
            governor.lateQuorumVoteExtension(),
            governor.timelock(),
            timelock.getMinDelay()
        );
        bytes32[4] memory roles = [
            timelock.DEFAULT_ADMIN_ROLE(), timelock.PROPOSER_ROLE(), timelock.CANCELLER_ROLE(), timelock.EXECUTOR_ROLE()
        ];
        for (uint256 i = 0; i < roles.length; ++i) {
            facts = abi.encode(facts, timelock.hasRole(roles[i], DEPLOYER), timelock.hasRole(roles[i], address(governor)));
            facts = abi.encode(facts, timelock.getRoleAdmin(roles[i]));
        }
    }

    function _counts() private view returns (bytes memory) {
        return abi.encode(
            sites.siteCount(),
            datasets.datasetCount(),
            consents.grantCount(),
            jobs.jobCount(),
            reviews.submissionCount(),
            disputes.disputeCount(),
            breakglass.emergencyCount(),
            equivocations.markedSiteCount(),
            equivocations.challengeCount(),
            auditrequests.requestCount(),
            anchors.head(_site)
        );
    }

    function _implementations() private view returns (bytes memory facts) {
        (string[] memory names, address[] memory at) = _proxies();
        for (uint256 i = 0; i < names.length; ++i) {
            facts = abi.encode(facts, VM.load(at[i], ERC1967Utils.IMPLEMENTATION_SLOT));
        }
        facts = abi.encode(facts, consortium.contractOf(Word.wrap("membership")));
        facts = abi.encode(facts, consortium.contractOf(Word.wrap("governor")));
        facts = abi.encode(facts, consortium.contractOf(Word.wrap("jobs")));
    }

    function _proxies() private view returns (string[] memory names, address[] memory at) {
        names = new string[](15);
        at = new address[](15);
        (names[0], at[0]) = ("Consortium", address(consortium));
        (names[1], at[1]) = ("Membership", address(membership));
        (names[2], at[2]) = ("SiteRegistry", address(sites));
        (names[3], at[3]) = ("DatasetRegistry", address(datasets));
        (names[4], at[4]) = ("ConsentRegistry", address(consents));
        (names[5], at[5]) = ("JobRegistry", address(jobs));
        (names[6], at[6]) = ("ModelRegistry", address(models));
        (names[7], at[7]) = ("AuditAnchor", address(anchors));
        (names[8], at[8]) = ("Reviews", address(reviews));
        (names[9], at[9]) = ("Attestations", address(attestations));
        (names[10], at[10]) = ("Disputes", address(disputes));
        (names[11], at[11]) = ("Brake", address(brake));
        (names[12], at[12]) = ("BreakGlass", address(breakglass));
        (names[13], at[13]) = ("Equivocations", address(equivocations));
        (names[14], at[14]) = ("AuditRequests", address(auditrequests));
    }
}
