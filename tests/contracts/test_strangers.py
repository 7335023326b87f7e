"""Nobody without a part in it changes anything: generated from the ABIs.

Twice: a stranger, at any time; and the deployer, once the members govern.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from web3.contract import Contract
from web3.contract.contract import ContractFunction

from chain.client import ChainClient
from chain.compile import CONTRACTS, load
from chain.timelock import ANYONE, Holder, Timelock
from tests.contracts.government import Government, Proposal
from tests.contracts.world import DAY, NAMES, TRAINING, Id, World, h, w

BEHIND_PROXIES = {"consortium": "Consortium", **NAMES}
GOVERNING = {"governor": "ConsortiumGovernor", "timelock": "TimelockController"}
ALL = {**BEHIND_PROXIES, **GOVERNING}
# What a stranger is told. Any other error would mean that the call was refused for another reason.
TOLD = {
    "AccessControlUnauthorizedAccount",
    "AnchorNotARegistry",
    "AnchorNotSites",
    "AttestationNotIssuer",
    "AuditRequestNotAuditor",
    "AuditRequestNotOperator",
    "BreakGlassBadSignature",
    "ConsentBadSignature",
    "ConsentNotBreakGlass",
    "ConsentNotJobs",
    "ConsentNotOwner",
    "ConsortiumNotAuthority",
    "ConsortiumUpgradeNotNamed",
    "DatasetNotOwner",
    "DisputeNotClaimant",
    "DisputeNotRespondent",
    "GovernorDisabledDeposit",
    "GovernorInsufficientProposerVotes",
    "GovernorInvalidSignature",
    "GovernorOnlyExecutor",
    "GovernorUnableToCancel",
    "GovernorVoterNotActive",
    "InvalidInitialization",
    "JobNotParty",
    "JobNotProposer",
    "MembershipNotAMember",
    "MembershipNotBreakGlass",
    "MembershipSoulbound",
    "ModelNotRegistrar",
    "ReviewsBadSignature",
    "SiteNotMembership",
    "SiteNotOperator",
    "SiteNotOwner",
    "TimelockUnauthorizedCaller",
}
# Open to all by design, and what they say here: what was not decided, given or opened is not there.
OPEN = {
    ("anchors", "cosign"): "AnchorUnknown",
    ("attestations", "revoke"): "AttestationMissing",
    ("breakglass", "lapse"): "BreakGlassUnknown",
    ("equivocations", "answerChallenge"): "ChallengeUnknown",
    ("equivocations", "challenge"): "EquivocationNotSigned",
    ("equivocations", "proveAnchoredFork"): "EquivocationNotSigned",
    ("equivocations", "proveFork"): "EquivocationNotSigned",
    ("equivocations", "settle"): "ChallengeUnknown",
    ("governor", "execute"): "GovernorUnexpectedProposalState",
    ("governor", "queue"): "GovernorUnexpectedProposalState",
    ("jobs", "expire"): "JobDeadlineNotPassed",
    ("timelock", "execute"): "TimelockUnexpectedOperationState",
    ("timelock", "executeBatch"): "TimelockUnexpectedOperationState",
}
# Refused to nobody, and without any effect: gives up a role that the caller has not; holds tokens.
WITHOUT_EFFECT = {
    "renounceRole",
    "onERC721Received",
    "onERC1155Received",
    "onERC1155BatchReceived",
}
# Anybody says for itself which site it would operate; a member must put it there.
OF_ONESELF = ("sites", "agree")


class Stage(NamedTuple):
    """A world with something of each kind; the members do not govern yet."""

    world: World
    government: Government
    proposal: Proposal
    dispute: Id
    request: Id

    def contract(self, name: str) -> Contract:
        found: Contract = getattr(self.government if name in GOVERNING else self.world, name)
        return found


@pytest.fixture(scope="module")
def staged(deployed: World) -> Iterator[Stage]:
    with deployed.anchored():
        government = Government(deployed)
        rules, disputes = deployed.consortium.functions, deployed.disputes.functions
        proposal = government.opened(rules.setMinimum(w("min-rows"), 7))
        deployed.send(disputes.open(deployed.shop, w("job"), h("x"), h("y"), 1), "bank")
        dispute = bytes(disputes.disputeIdFor(deployed.address("bank"), 1).call())
        deployed.reviewed(h("x"), author="bank")
        for person in ("reader", "second reader"):
            deployed.appoint("shop", person)
        asking = deployed.auditrequests.functions
        deployed.send(asking.file(deployed.bank_site, w("period"), h("which"), 1), "shop")
        request = bytes(asking.requestIdFor(deployed.address("shop"), 1).call())
        yield Stage(deployed, government, proposal, dispute, request)


@pytest.fixture
def stage(staged: Stage, world: World) -> Stage:
    return staged


def changing() -> Iterator[tuple[str, str]]:
    for contract, artifact in ALL.items():
        for entry in load(artifact).abi:
            mutable = entry.get("stateMutability") in ("nonpayable", "payable")
            if entry["type"] == "function" and mutable:
                types = ",".join(_type(parameter) for parameter in entry["inputs"])
                yield contract, f"{entry['name']}({types})"


def _type(parameter: Mapping[str, Any]) -> str:
    kind = str(parameter["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(c) for c in parameter['components'])}){kind[5:]}"


# Things that exist, by the type of their id.
KNOWN: dict[str, Callable[[Stage], Any]] = {
    "MemberId": lambda stage: stage.world.bank,
    "SiteId": lambda stage: stage.world.bank_site,
    "KeyId": lambda stage: bytes(
        stage.world.sites.functions.keys(stage.world.bank_site).call()[0][0]
    ),
    "DatasetId": lambda stage: stage.world.bank_data,
    "GrantId": lambda stage: stage.world.shop_grant,
    "JobId": lambda stage: stage.world.propose(),
    "ModelId": lambda stage: stage.world.registered_model(),
    "DisputeId": lambda stage: stage.dispute,
    "RequestId": lambda stage: stage.request,
    "ChallengeId": lambda stage: h("no challenge"),
    "Word": lambda stage: TRAINING,
}
# And by what the parameter is called.
NAMED: dict[str, Callable[[Stage], Any]] = {
    "proposalId": lambda stage: stage.proposal.id,
    "targets": lambda stage: stage.proposal.content[0],
    "values": lambda stage: stage.proposal.content[1],
    "calldatas": lambda stage: stage.proposal.content[2],
    "payloads": lambda stage: stage.proposal.content[2],
    "descriptionHash": lambda stage: stage.proposal.content[3],
    "first": lambda stage: stage.world.address("reader"),
    "second": lambda stage: stage.world.address("second reader"),
}
# A job in the state that the function is for.
JOB_FOR = {
    "start": World.approved,
    "attest": World.running,
    "fail": World.running,
    "register": World.succeeded,
}


def arguments(stage: Stage, function: ContractFunction, actor: str) -> list[Any]:
    return [
        argument(stage, parameter, function.fn_name, actor) for parameter in function.abi["inputs"]
    ]


def argument(stage: Stage, parameter: Mapping[str, Any], function: str, actor: str) -> Any:
    internal, kind, world = str(parameter["internalType"]), str(parameter["type"]), stage.world
    if function != "propose" and parameter["name"] in NAMED:
        return NAMED[parameter["name"]](stage)
    if kind.endswith("[]"):
        return []
    if internal == "struct IConsentRegistry.Grant":
        changed = {"until": world.now + DAY, "purposes": [w("emergency")]}
        return world.terms(**(changed if function in ("open", "grantInEmergency") else {}))
    if internal == "struct IJobRegistry.Proposal":
        return world.proposal()
    if internal == "struct IEquivocations.Signed":
        return (1, h("root"), 1, h("r"), h("s"))
    if internal == "struct IReviews.Review":
        return (h("x"), world.address("reader"), True, h("report"))
    if internal == "JobId" and function in JOB_FOR:
        return JOB_FOR[function](world)
    if internal in KNOWN:
        return KNOWN[internal](stage)
    if kind == "address":
        return world.address("reader" if function == "dismiss" else actor)
    return {"string": "x", "bytes": b"x", "bytes32": h("x"), "bytes4": b"1234", "bool": True}.get(
        kind, 1
    )


def check_powerless(stage: Stage, contract: str, signature: str, actor: str) -> None:
    function = stage.contract(contract).get_function_by_signature(signature)
    call = function(*arguments(stage, function, actor))
    name = (contract, function.fn_name)
    if contract == "timelock" and function.fn_name in WITHOUT_EFFECT:
        assert stage.world.send(call, actor)["logs"] == []
    elif name == OF_ONESELF:
        ((_, said),) = stage.world.events(stage.world.send(call, actor), stage.world.sites)
        assert said["operator"] == stage.world.address(actor)
    else:
        refused = stage.world.refusal(call, actor)
        assert refused is not None
        assert refused.error in ({OPEN[name]} if name in OPEN else TOLD)


@pytest.mark.parametrize(("contract", "signature"), list(changing()))
def test_a_stranger_changes_nothing(stage: Stage, contract: str, signature: str) -> None:
    check_powerless(stage, contract, signature, "stranger")


@pytest.mark.parametrize(("contract", "signature"), list(changing()))
def test_the_deployer_changes_nothing_once_the_members_govern(
    stage: Stage, contract: str, signature: str
) -> None:
    stage.government.found()
    check_powerless(stage, contract, signature, "authority")


def test_nobody_but_the_governor_has_a_part_in_the_timelock(stage: Stage) -> None:
    """Of all accounts that its events name, the deployer's among them."""
    stage.government.found()
    client = ChainClient("http://contracts", web3=stage.world.web3)
    timelock = Timelock(client, stage.government.timelock.address)
    governor = stage.government.governor.address
    client.learn({timelock.address: "TimelockController"})
    told = client.logs(0, stage.world.block, [timelock.address])
    assert stage.world.address("authority") in {event.args.get("account") for event in told}
    assert timelock.holders(told, block="latest") == {
        Holder("DEFAULT_ADMIN", timelock.address),
        Holder("PROPOSER", governor),
        Holder("CANCELLER", governor),
        Holder("EXECUTOR", ANYONE),
    }


def test_no_contract_is_left_out() -> None:
    assert set(ALL.values()) | {"ERC1967Proxy"} == set(CONTRACTS)


def test_every_move_of_the_consortium_is_the_authoritys(stage: Stage) -> None:
    """Members and operators are strangers to it."""
    for contract, signature in changing():
        if contract == "consortium":
            function = stage.contract(contract).get_function_by_signature(signature)
            if function.fn_name in ("initialize", "upgradeToAndCall"):
                continue
            given = arguments(stage, function, "stranger")
            for actor in ("bank", "bank_node"):
                refused = stage.world.refusal(function(*given), actor)
                assert refused is not None
                assert refused.error == "ConsortiumNotAuthority"
