"""Nobody without a part in it changes anything: generated from the ABIs."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from chain.compile import load
from tests.contracts.world import NAMES, TRAINING, ZERO, Id, World, h

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
OPEN = {"expire": "JobDeadlineNotPassed"}


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


def ids(world: World, function: str) -> dict[str, Id]:
    """Things that exist, and a job in the state that the function is for."""
    jobs = {
        "start": world.approved,
        "attest": world.running,
        "fail": world.running,
        "register": world.succeeded,
    }
    model = world.registered_model() if function == "withdraw" else ZERO
    return {
        "MemberId": world.bank,
        "SiteId": world.bank_site,
        "KeyId": bytes(world.sites.functions.keys(world.bank_site).call()[0][0]),
        "DatasetId": world.bank_data,
        "GrantId": world.shop_grant,
        "JobId": jobs.get(function, world.propose)(),
        "ModelId": model,
        "Word": TRAINING,
    }


def argument(world: World, parameter: Mapping[str, Any], known: Mapping[str, Id]) -> Any:
    internal, kind = str(parameter["internalType"]), str(parameter["type"])
    if kind.endswith("[]"):
        return []
    if internal == "struct IConsentRegistry.Grant":
        return world.terms()
    if internal == "struct IJobRegistry.Proposal":
        return world.proposal()
    if internal in known:
        return known[internal]
    if kind == "address":
        return world.address("stranger")
    return {"string": "x", "bytes": b"x", "bytes32": h("x"), "bytes4": b"1234", "bool": True}.get(
        kind, 1
    )


@pytest.mark.parametrize(("contract", "signature"), list(changing()))
def test_a_stranger_changes_nothing(world: World, contract: str, signature: str) -> None:
    function = getattr(world, contract).get_function_by_signature(signature)
    known = ids(world, function.fn_name)
    arguments = [argument(world, parameter, known) for parameter in function.abi["inputs"]]
    refused = world.refusal(function(*arguments), "stranger")
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
            arguments = [argument(world, p, {"Word": TRAINING}) for p in function.abi["inputs"]]
            for actor in ("bank", "bank_node"):
                refused = world.refusal(function(*arguments), actor)
                assert refused is not None
                assert refused.error == "ConsortiumNotAuthority"
