"""Nobody without a part in it changes anything: generated from the ABIs."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from web3.contract.contract import ContractFunction

from chain.compile import load
from tests.contracts.world import NAMES, TRAINING, Id, World, h

CONTRACTS = {"consortium": "Consortium", **NAMES}
# What a stranger is told. Any other error would mean that the call was refused for another reason.
TOLD = {
    "ConsortiumNotAuthority",
    "MembershipNotAMember",
    "MembershipSoulbound",
    "SiteNotOwner",
    "SiteNotOperator",
    "DatasetNotOwner",
    "ConsentNotOwner",
    "ConsentNotJobs",
    "ConsentBadSignature",
    "JobNotParty",
    "JobNotProposer",
    "ModelNotRegistrar",
    "InvalidInitialization",
}
# Open to all by design, and what they say here.
OPEN = {"expire": "JobDeadlineNotPassed", "agree": "SiteTaken"}


def changing() -> Iterator[tuple[str, str]]:
    for contract, artifact in CONTRACTS.items():
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
KNOWN: dict[str, Callable[[World], Id]] = {
    "MemberId": lambda world: world.bank,
    "SiteId": lambda world: world.bank_site,
    "KeyId": lambda world: bytes(world.sites.functions.keys(world.bank_site).call()[0][0]),
    "DatasetId": lambda world: world.bank_data,
    "GrantId": lambda world: world.shop_grant,
    "JobId": World.propose,
    "ModelId": World.registered_model,
    "Word": lambda world: TRAINING,
}
# A job in the state that the function is for.
JOB_FOR = {
    "start": World.approved,
    "attest": World.running,
    "fail": World.running,
    "register": World.succeeded,
}


def arguments(world: World, function: ContractFunction) -> list[Any]:
    return [argument(world, parameter, function.fn_name) for parameter in function.abi["inputs"]]


def argument(world: World, parameter: Mapping[str, Any], function: str) -> Any:
    internal, kind = str(parameter["internalType"]), str(parameter["type"])
    if kind.endswith("[]"):
        return []
    if internal == "struct IConsentRegistry.Grant":
        return world.terms()
    if internal == "struct IJobRegistry.Proposal":
        return world.proposal()
    if internal == "JobId" and function in JOB_FOR:
        return JOB_FOR[function](world)
    if internal in KNOWN:
        return KNOWN[internal](world)
    if kind == "address":
        return world.address("stranger")
    return {"string": "x", "bytes": b"x", "bytes32": h("x"), "bytes4": b"1234", "bool": True}.get(
        kind, 1
    )


@pytest.mark.parametrize(("contract", "signature"), list(changing()))
def test_a_stranger_changes_nothing(world: World, contract: str, signature: str) -> None:
    function = getattr(world, contract).get_function_by_signature(signature)
    refused = world.refusal(function(*arguments(world, function)), "stranger")
    assert refused is not None
    told = {OPEN[function.fn_name]} if function.fn_name in OPEN else TOLD
    assert refused.error in told


def test_every_move_of_the_consortium_is_the_authoritys(world: World) -> None:
    """Members and operators are strangers to it."""
    own = {"upgradeToAndCall(address,bytes)"}
    for contract, signature in changing():
        if contract == "consortium" or signature in own:
            function = getattr(world, contract).get_function_by_signature(signature)
            if function.fn_name == "initialize":
                continue
            given = arguments(world, function)
            for actor in ("bank", "bank_node"):
                refused = world.refusal(function(*given), actor)
                assert refused is not None
                assert refused.error == "ConsortiumNotAuthority"
