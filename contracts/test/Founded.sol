// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";

import {Attestations} from "../Attestations.sol";
import {AuditAnchor} from "../AuditAnchor.sol";
import {AuditRequests} from "../AuditRequests.sol";
import {Brake} from "../Brake.sol";
import {BreakGlass} from "../BreakGlass.sol";
import {ConsentRegistry} from "../ConsentRegistry.sol";
import {Consortium} from "../Consortium.sol";
import {ConsortiumGovernor} from "../ConsortiumGovernor.sol";
import {DatasetRegistry} from "../DatasetRegistry.sol";
import {Disputes} from "../Disputes.sol";
import {Equivocations} from "../Equivocations.sol";
import {Governed} from "../Governed.sol";
import {JobRegistry} from "../JobRegistry.sol";
import {Membership} from "../Membership.sol";
import {ModelRegistry} from "../ModelRegistry.sol";
import {Reviews} from "../Reviews.sol";
import {SiteRegistry} from "../SiteRegistry.sol";
import {ISiteRegistry} from "../interfaces/ISiteRegistry.sol";
import {DatasetId, MemberId, SiteId, Word} from "../interfaces/Types.sol";
import {VM} from "./Vm.sol";

/// @title A consortium as chain/deploy.py founds it: every contract behind its proxy, the authority with the timelock.
/// @notice Persons are numbers, which are their private keys too; a member's node is the member plus NODE.
abstract contract Founded {
    address internal constant DEPLOYER = address(0xDE9107E2);
    uint256 internal constant NODE = 100;
    uint48 internal constant VOTING_DELAY = 2;
    uint32 internal constant VOTING_PERIOD = 20;
    uint256 internal constant QUORUM_MINIMUM = 2;
    uint48 internal constant LATE_QUORUM = 5;
    uint256 internal constant TIMELOCK_DELAY = 1 hours;
    bytes32 internal constant ALGORITHM = keccak256("algorithm");
    bytes32 internal constant OTHER_ALGORITHM = keccak256("another algorithm");
    Word internal constant TRAINING = Word.wrap("training");
    Word internal constant QUALITY = Word.wrap("quality");

    Consortium internal consortium;
    Membership internal membership;
    SiteRegistry internal sites;
    DatasetRegistry internal datasets;
    ConsentRegistry internal consents;
    JobRegistry internal jobs;
    ModelRegistry internal models;
    AuditAnchor internal anchors;
    Reviews internal reviews;
    Attestations internal attestations;
    Disputes internal disputes;
    Brake internal brake;
    BreakGlass internal breakglass;
    Equivocations internal equivocations;
    AuditRequests internal auditrequests;
    TimelockController internal timelock;
    ConsortiumGovernor internal governor;

    uint256 private _nonce;

    // ------------------------------------------------------------------ founding

    function _deploy() internal {
        VM.warp(1_800_000_000);
        VM.roll(1000);
        VM.startPrank(DEPLOYER);
        consortium = Consortium(
            address(new ERC1967Proxy(address(new Consortium()), abi.encodeCall(Consortium.initialize, (DEPLOYER))))
        );
        membership = Membership(_book("membership", address(new Membership())));
        sites = SiteRegistry(_book("sites", address(new SiteRegistry())));
        datasets = DatasetRegistry(_book("datasets", address(new DatasetRegistry())));
        consents = ConsentRegistry(_book("consents", address(new ConsentRegistry())));
        jobs = JobRegistry(_book("jobs", address(new JobRegistry())));
        models = ModelRegistry(_book("models", address(new ModelRegistry())));
        anchors = AuditAnchor(_book("anchors", address(new AuditAnchor())));
        reviews = Reviews(_book("reviews", address(new Reviews())));
        attestations = Attestations(_book("attestations", address(new Attestations())));
        disputes = Disputes(_book("disputes", address(new Disputes())));
        brake = Brake(_book("brake", address(new Brake())));
        breakglass = BreakGlass(_book("breakglass", address(new BreakGlass())));
        equivocations = Equivocations(_book("equivocations", address(new Equivocations())));
        auditrequests = AuditRequests(_book("auditrequests", address(new AuditRequests())));
        consortium.allowAlgorithm(ALGORITHM, "algorithm");
        consortium.allowAlgorithm(OTHER_ALGORITHM, "another");
        consortium.allowPurpose(TRAINING);
        consortium.allowPurpose(QUALITY);
        consortium.allowPurpose(Word.wrap("emergency"));
        _deployGovernment();
        VM.stopPrank();
    }

    /// @dev Afterwards the deployer has no power anywhere.
    function _handOver() internal {
        VM.prank(DEPLOYER);
        consortium.moveAuthority(address(timelock));
        _pass(1);
    }

    function _deployGovernment() private {
        address[] memory nobody = new address[](0);
        address[] memory anyone = new address[](1);
        timelock = new TimelockController(TIMELOCK_DELAY, nobody, anyone, DEPLOYER);
        governor = new ConsortiumGovernor(
            IVotes(address(membership)), timelock, VOTING_DELAY, VOTING_PERIOD, QUORUM_MINIMUM, LATE_QUORUM
        );
        timelock.grantRole(timelock.PROPOSER_ROLE(), address(governor));
        timelock.grantRole(timelock.CANCELLER_ROLE(), address(governor));
        timelock.renounceRole(timelock.DEFAULT_ADMIN_ROLE(), DEPLOYER);
        consortium.setContract(Word.wrap("timelock"), address(timelock));
        consortium.setContract(Word.wrap("governor"), address(governor));
    }

    function _book(bytes32 name, address implementation) private returns (address proxy) {
        // Every registry begins with the consortium's address.
        bytes memory data = abi.encodeCall(Membership.initialize, (address(consortium)));
        proxy = address(new ERC1967Proxy(implementation, data));
        consortium.setContract(Word.wrap(name), proxy);
    }

    // ------------------------------------------------------------------ who and what there is

    function _account(uint256 person) internal pure returns (address) {
        return VM.addr(person);
    }

    function _signed(uint256 person, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(person, digest);
        return abi.encodePacked(r, s, v);
    }

    function _fresh() internal returns (uint256) {
        return ++_nonce;
    }

    function _admit(uint256 person) internal returns (MemberId) {
        address account = _account(person);
        uint256 nonce = _fresh();
        bytes memory acceptance = _signed(person, membership.admissionDigest(account, "member", nonce));
        VM.prank(consortium.authority());
        return membership.admit(account, "member", nonce, acceptance);
    }

    function _registerSite(uint256 person) internal returns (SiteId id) {
        uint256 nonce = _fresh();
        id = sites.siteIdFor(_account(person), nonce);
        address operator = _account(person + NODE);
        VM.prank(operator);
        sites.agree(id);
        ISiteRegistry.KeyInput[] memory keys = new ISiteRegistry.KeyInput[](1);
        keys[0] = ISiteRegistry.KeyInput(Word.wrap("request"), abi.encode(person), "proof");
        VM.prank(_account(person));
        sites.register(operator, "site", "https://site.example", 3, keys, nonce);
    }

    /// @dev The person signs heads for the site of the person who registered it.
    function _addAnchorKey(SiteId site, uint256 person, uint256 signer) internal {
        bytes memory publicKey = abi.encodePacked(_account(signer));
        Word purpose = Word.wrap("anchor");
        bytes memory proof = _signed(signer, sites.keyProofDigest(site, purpose, publicKey));
        VM.prank(_account(person));
        sites.addKey(site, purpose, publicKey, proof);
    }

    /// @dev EIP-2098 of the person's signature.
    function _compact(uint256 person, bytes32 digest) internal pure returns (bytes32 r, bytes32 vs) {
        (uint8 v, bytes32 r_, bytes32 s) = VM.sign(person, digest);
        return (r_, bytes32(uint256(s) | (uint256(v) - 27) << 255));
    }

    function _registerDataset(SiteId site, uint256 person) internal returns (DatasetId) {
        VM.prank(_account(person + NODE));
        return datasets.register(site, "dataset", keccak256("schema"), keccak256("rows"), 1000, 10, _fresh());
    }

    /// @dev Blocks, a second each.
    function _pass(uint256 blocks) internal {
        VM.roll(block.number + blocks);
        VM.warp(block.timestamp + blocks);
    }
}
