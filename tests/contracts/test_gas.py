"""What each move costs, compared with gas.json.

`UPDATE_GAS=1 python -m pytest tests/contracts/test_gas.py` writes the file anew.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from web3.types import TxReceipt

from chain import merkle
from chain.compile import CONTRACTS, load
from tests.contracts.test_breakglass import emergency, opening
from tests.contracts.world import World, h, w

FILE = Path(__file__).parent / "gas.json"
TOLERANCE = 0.01
TEN_MILLION = 10_000_000
A_HEAD = 10_000
ANCHOR_BAR = 125_000
AN_ENTRY_BAR = 13
COSIGNERS = ("shop key", "clinic key", "bakery key")
A_BLOCK = 29_000_000


def _same_leaves(levels: int) -> merkle.HashAt:
    """A log whose leaves are alike: the hash of a subtree depends on its level alone."""
    hashes = [merkle.leaf_hash(b"same")]
    for _ in range(levels):
        hashes.append(merkle.node_hash(hashes[-1], hashes[-1]))
    return lambda level, index: hashes[level]


def _anchor(world: World, sizes: tuple[int, ...], cosigners: Sequence[str] = ()) -> TxReceipt:
    """The last of these heads, each with these cosignatures."""
    hash_at = _same_leaves(24)
    anchored = 0
    receipt = None
    for size in sizes:
        proof = merkle.consistency_proof_at(anchored, size, hash_at) if anchored else []
        root = merkle.root_at(size, hash_at)
        given = [world.sign_head(name, world.bank_site, size, root) for name in cosigners]
        function = world.anchors.functions.anchor(world.bank_site, size, root, proof, given)
        receipt = world.send(function, "bank_node")
        counted, _ = world.anchors.functions.witnessOf(world.bank_site, size).call()
        assert counted == len(cosigners)
        anchored = size
    assert receipt is not None
    return receipt


def _cosigned(world: World) -> TxReceipt:
    """A head that three other members cosigned, as they had the one before."""
    world.admit("newcomer", "Bakery")
    bakery = world.register_site("newcomer", "relayer", "request")
    sites = (world.shop_site, "shop_node"), (world.clinic_site, "clinic_node"), (bakery, "relayer")
    for name, (site, operator) in zip(COSIGNERS, sites, strict=True):
        world.add_anchor_key(site, operator, name)
    return _anchor(world, (TEN_MILLION - A_HEAD, TEN_MILLION), COSIGNERS)


def _cosign(world: World) -> TxReceipt:
    """One that comes late."""
    world.add_anchor_key(world.shop_site, "shop_node", "shop key")
    _anchor(world, (1000,), ("shop key",))
    hash_at = _same_leaves(24)
    proof = merkle.consistency_proof_at(1000, 1500, hash_at)
    root = merkle.root_at(1500, hash_at)
    anchors, site = world.anchors.functions, world.bank_site
    world.send(anchors.anchor(site, 1500, root, proof, []), "bank_node")
    late = world.sign_head("shop key", site, 1500, root)
    return world.send(anchors.cosign(site, 1500, [late]), "relayer")


def _fork(world: World) -> TxReceipt:
    world.add_anchor_key(world.bank_site, "bank_node", "bank key")
    one, other = (_signed(world, h(text)) for text in ("one", "other"))
    fork = world.equivocations.functions.proveFork(world.bank_site, one, other)
    return world.send(fork, "stranger")


def _challenge(world: World) -> TxReceipt:
    world.add_anchor_key(world.bank_site, "bank_node", "bank key")
    signed = _signed(world, h("one"))
    return world.send(world.equivocations.functions.challenge(world.bank_site, signed), "shop")


def _signed(world: World, root: bytes) -> tuple[int, bytes, int, bytes, bytes]:
    time, r, vs = world.sign_head("bank key", world.bank_site, 7, root)
    return 7, root, time, r, vs


def _ask(world: World) -> TxReceipt:
    ask = world.auditrequests.functions.file(world.bank_site, w("period"), h("which"), 1)
    return world.send(ask, "shop")


def _admit(world: World) -> TxReceipt:
    return world.send(world.admission("newcomer", "Bakery", 7), "authority")


def _register_site(world: World) -> TxReceipt:
    keys = [(w(purpose), h(purpose), b"p" * 64) for purpose in ("request", "audit")]
    register = world.sites.functions.register(
        world.address("bank"), "branch", "https://branch.example", 3, keys, 7
    )
    return world.send(register, "bank")


def _change_operator(world: World) -> TxReceipt:
    functions, operator = world.sites.functions, world.address("newcomer")
    world.send(functions.agree(world.bank_site), "newcomer")
    return world.send(functions.changeOperator(world.bank_site, operator), "bank")


def _attest_member(world: World) -> TxReceipt:
    functions, issuer = world.attestations.functions, world.address("relayer")
    world.send(functions.nameIssuer(w("iso-27001"), issuer), "authority")
    attest = functions.attest(world.bank, w("iso-27001"), h("report"), world.now + 1000)
    return world.send(attest, "relayer")


def _break_glass(world: World) -> TxReceipt:
    for person in ("doctor", "nurse"):
        world.add_account(person)
        world.send(world.reviews.functions.appoint(world.address(person)), "shop")
    terms = emergency(world)
    return world.send(opening(world, terms, "doctor", "nurse"), "relayer")


def _register_dataset(world: World) -> TxReceipt:
    register = world.datasets.functions.register(
        world.shop_site, "visits", h("schema"), h("rows"), 1000, 10, 7
    )
    return world.send(register, "shop_node")


def _grant(world: World) -> TxReceipt:
    terms = world.terms()
    return world.send(world.consents.functions.grant(terms, world.sign(terms, "shop")), "relayer")


def _revoke(world: World) -> TxReceipt:
    return world.send(world.consents.functions.revoke(world.shop_grant), "shop")


def _propose(world: World) -> TxReceipt:
    return world.send(world.jobs.functions.propose(world.proposal()), "bank_node")


def _approve(world: World) -> TxReceipt:
    return world.approve(world.propose(), world.shop_site, "shop_node")


def _start(world: World) -> TxReceipt:
    return world.send(world.jobs.functions.start(world.approved()), "bank_node")


def _attest(world: World) -> TxReceipt:
    attest = world.jobs.functions.attest(world.running(), world.shop_site, h("result"))
    return world.send(attest, "shop_node")


def _attest_last(world: World) -> TxReceipt:
    job = world.running()
    attest = world.jobs.functions.attest
    world.send(attest(job, world.shop_site, h("result")), "shop_node")
    return world.send(attest(job, world.bank_site, h("result")), "bank_node")


def _register_model(world: World) -> TxReceipt:
    job = world.succeeded()
    register = world.models.functions.register(job, world.bank_site, h("model"), [], 7)
    return world.send(register, "bank_node")


MOVES: dict[str, Callable[[World], TxReceipt]] = {
    "Membership.admit": _admit,
    "SiteRegistry.register with two keys": _register_site,
    "SiteRegistry.changeOperator": _change_operator,
    "DatasetRegistry.register": _register_dataset,
    "Attestations.attest": _attest_member,
    "BreakGlass.open": _break_glass,
    "ConsentRegistry.grant, relayed": _grant,
    "ConsentRegistry.revoke": _revoke,
    "JobRegistry.propose, two parties, two uses": _propose,
    "JobRegistry.approve, the last of two": _approve,
    "JobRegistry.start, two parties, one grant": _start,
    "JobRegistry.attest, the first": _attest,
    "JobRegistry.attest, the last of two": _attest_last,
    "ModelRegistry.register": _register_model,
    "AuditAnchor.anchor, the first head": lambda world: _anchor(world, (1000,)),
    "AuditAnchor.anchor, 1000 to 1500": lambda world: _anchor(world, (1000, 1500)),
    "AuditAnchor.anchor, 10,000 entries up to ten million": lambda world: _anchor(
        world, (TEN_MILLION - A_HEAD, TEN_MILLION)
    ),
    "AuditAnchor.anchor, 10,000 entries up to ten million, three cosigners": _cosigned,
    "AuditAnchor.cosign, a late one": _cosign,
    "Equivocations.proveFork": _fork,
    "Equivocations.challenge": _challenge,
    "AuditRequests.file": _ask,
}


def committed() -> dict[str, int]:
    return dict(json.loads(FILE.read_text())) if FILE.is_file() else {}


def compare(name: str, found: int) -> None:
    """Writes when told to."""
    if os.environ.get("UPDATE_GAS") == "1":
        FILE.write_text(json.dumps({**committed(), name: found}, sort_keys=True, indent=1) + "\n")
    expected = committed()[name]
    assert found == pytest.approx(expected, rel=TOLERANCE), "UPDATE_GAS=1 if it is meant"


@pytest.mark.parametrize("name", MOVES)
def test_a_move_costs_what_is_committed(world: World, name: str) -> None:
    compare(name, int(MOVES[name](world)["gasUsed"]))


# What takes arguments to be created is measured where they are made.
PLAIN = [
    name
    for name in CONTRACTS
    if not any(entry["type"] == "constructor" and entry["inputs"] for entry in load(name).abi)
]


@pytest.mark.parametrize("name", PLAIN)
def test_a_deployment_costs_what_is_committed(world: World, name: str) -> None:
    factory = world.web3.eth.contract(abi=load(name).abi, bytecode=load(name).bytecode)
    receipt = world.transact(factory.constructor(), "authority")
    compare(f"{name}, deployed", int(receipt["gasUsed"]))


def test_the_largest_job_fits_a_block(world: World) -> None:
    """Sixteen parties and thirty-two grants. A chain's block holds 30 million gas."""
    branches = [f"branch {n}" for n in range(14)]
    for branch in branches:
        world.add_account(branch)
    sites = [world.register_site("bank", branch, "request") for branch in branches]
    parties = [(world.bank_site, w("guest")), (world.shop_site, w("host"))]
    parties += [(site, w("host")) for site in sites]
    uses = [(1, world.shop_data, 1, world.grant()) for _ in range(32)]
    proposal = world.proposal(parties=parties, uses=uses)
    proposed = world.send(world.jobs.functions.propose(proposal), "bank_node", gas=A_BLOCK)
    operator, nonce = world.address("bank_node"), proposal["nonce"]
    job = bytes(world.jobs.functions.jobIdFor(operator, nonce).call())
    for site, branch in zip(sites, branches, strict=True):
        world.approve(job, site, branch)
    world.approve(job, world.shop_site, "shop_node")
    started = world.send(world.jobs.functions.start(job), "bank_node", gas=A_BLOCK)

    compare("JobRegistry.propose, the largest job", int(proposed["gasUsed"]))
    compare("JobRegistry.start, the largest job", int(started["gasUsed"]))
    assert int(proposed["gasUsed"]) < A_BLOCK / 2
    assert int(started["gasUsed"]) < A_BLOCK / 2


def test_the_page_on_contracts_shows_the_committed_figures() -> None:
    page = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text()
    section = page.split("## Gas", 1)[1].split("An anchored head", 1)[0]
    figures = {int(figure.replace(",", "")) for figure in re.findall(r"\d+(?:,\d{3})+", section)}
    assert figures - {A_HEAD} <= set(committed().values())


def test_a_head_at_ten_million_entries_stays_below_the_bar(world: World) -> None:
    """With the consistency proof and three counted cosignatures."""
    used = int(_cosigned(world)["gasUsed"])
    assert used < ANCHOR_BAR
    assert used / A_HEAD < AN_ENTRY_BAR
