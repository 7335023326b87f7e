"""A file that carries a proof of the contracts' state shows by itself what the chain says of it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from chain import state
from chain.blocks import blocks_of, compare, told_block
from chain.certificate import Certificate
from chain.evidence import verify_certificate
from chain.pack import left_to_ask as left_of_pack
from chain.pack import verify_pack_alone
from chain.standalone import ASK_THE_CHAIN, left_to_ask, verify_alone
from chain.state_proof import AskedSlots
from chain.storage import Storage
from chain.testing import InProcessChain
from tests.chain.lies import CERTIFICATE, VALUE, resealed
from tests.chain.pack_lies import PACK, resigned
from tests.chain.pack_lies import VALUE as PACK_VALUE
from tests.chain.state_lies import PACK_STATE_LIES, STANDING_LIES, STATE_LIES
from tests.chain.world import World

Change = Callable[[dict[str, Any]], Any]
BLOCK = VALUE["state"]["block"]


@pytest.fixture(scope="module")
def certified() -> World:
    return World(InProcessChain().client).found().run_job()


def without_state(body: dict[str, Any]) -> None:
    body["state"] = None


def test_the_vector_proves_what_it_says_of_the_chain_with_no_chain_asked() -> None:
    found = [check for check in verify_alone(CERTIFICATE).checks if check.name == "state"]
    assert all(check.ok for check in found)
    assert {"$.job", "$.parties", "$.result.digest", "$.model", "$.logs[1].anchored"} <= {
        check.where for check in found
    }
    assert "network" in left_to_ask(VALUE)
    assert "parties" not in left_to_ask(VALUE)


def test_without_a_header_it_says_that_the_chain_must_be_asked() -> None:
    report = verify_alone(resealed(without_state))
    assert report.ok
    (check,) = [check for check in report.checks if check.name == "state"]
    assert (check.where, "no header" in check.detail) == ("$.state", True)
    assert left_to_ask({**VALUE, "state": None}) == ASK_THE_CHAIN


@pytest.mark.parametrize(
    ("what", "change", "where"), STATE_LIES, ids=[lie[0] for lie in STATE_LIES]
)
def test_a_lie_about_the_chain_is_found_with_no_chain_asked(
    what: str, change: Change, where: str
) -> None:
    failed = [(c.name, c.where) for c in verify_alone(resealed(change)).failures]
    assert ("state", where) in failed, failed


@pytest.mark.parametrize(
    ("what", "change", "where", "found"), STANDING_LIES, ids=[lie[0] for lie in STANDING_LIES]
)
def test_a_history_that_no_contract_writes_is_not_read_to_its_end(
    what: str, change: Change, where: str, found: str
) -> None:
    (failed,) = [c for c in verify_alone(resealed(change)).failures if c.name == "state"]
    assert (failed.where, found in failed.detail) == (where, True), failed


@pytest.mark.parametrize(
    ("what", "change", "where"), PACK_STATE_LIES, ids=[lie[0] for lie in PACK_STATE_LIES]
)
def test_a_lie_of_a_pack_about_the_chain_is_found_with_no_chain_asked(
    what: str, change: Change, where: str
) -> None:
    report = verify_pack_alone(resigned(change, proved=True))
    failed = [(c.name, c.where) for c in report.failures]
    assert ("chain", where) in failed, failed


def test_the_pack_proves_that_it_ends_with_the_newest_head_and_the_block_it_names() -> None:
    found = {c.where: c for c in verify_pack_alone(PACK).checks if c.name == "chain"}
    assert all(check.ok for check in found.values())
    last = PACK_VALUE["scope"]["lastBlock"]
    assert found["$.log.anchored.size"].detail == f"no newer head was anchored up to block {last}"
    assert {"$.scope", "$.jobs", "$.keys", "$.issued"} <= set(found)
    assert "told" in left_of_pack(PACK_VALUE)


# ── The block that the reader knows from elsewhere


@pytest.mark.parametrize(
    "told",
    [
        BLOCK["hash"],
        f" {BLOCK['hash'].upper().replace('0X', '0x')}\n",
        BLOCK["header"],
        json.dumps(BLOCK),
        json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"hash": BLOCK["hash"], "number": "0x1"}}),
    ],
)
def test_the_block_is_known_by_its_hash_or_its_header(told: str) -> None:
    check = compare(VALUE, told)
    assert (check.ok, check.where) == (True, "$.state.block")


@pytest.mark.parametrize(
    "told",
    [
        "",
        "0x",
        "0x" + "ab" * 32,
        "{}",
        "[]",
        "null",
        '{"hash":7}',
        "[" * 100_000,
        "x" * 100_000,
        BLOCK["header"][:-2] + "00",
        json.dumps({**BLOCK, "header": "0x" + "00" * 100}),
    ],
)
def test_any_other_block_is_not_the_one_of_the_file(told: str) -> None:
    assert not compare(VALUE, told).ok


def test_a_file_without_a_header_cannot_be_held_against_a_block() -> None:
    assert not compare({**VALUE, "state": None}, BLOCK["hash"]).ok


def test_the_blocks_of_a_pack_are_its_own_and_those_of_its_certificates() -> None:
    found = blocks_of(PACK_VALUE)
    assert found[PACK_VALUE["chain"]["block"]["hash"]][0] == "$.chain.block"
    inner = PACK_VALUE["certificates"][0]["certificate"]["state"]["block"]["hash"]
    assert inner in found
    assert told_block(inner) == inner


BOUND = {"number": 7, "hash": "0x" + "cd" * 32, "header": BLOCK["header"]}
BOUNDED = {**PACK_VALUE, "chain": {**PACK_VALUE["chain"], "bounds": [BOUND]}}


def test_only_the_block_of_the_state_proves_a_pack_and_the_others_are_left_to_compare() -> None:
    state, inner = (
        part["block"]
        for part in (PACK_VALUE["chain"], PACK_VALUE["certificates"][0]["certificate"]["state"])
    )
    for block, where, ok, told in (
        (state, "$.chain.block", True, f"block {state['number']} is the one"),
        (inner, "$.certificates[0].certificate.state.block", False, "only a certificate"),
        (BOUND, "$.chain.bounds[0]", False, "only the time of block 7 is shown"),
    ):
        check = compare(BOUNDED, block["hash"])
        assert (check.where, check.ok, told in check.detail) == (where, ok, True), check
        left = check.detail.partition("still to compare: ")[2]
        others = {part["hash"] for part in (state, inner, BOUND)} - {block["hash"]}
        assert {hash for hash in blocks_of(BOUNDED) if hash in left} == others


def test_a_block_that_is_both_that_of_the_state_and_a_bound_proves_the_pack() -> None:
    both = {**PACK_VALUE["chain"], "bounds": [PACK_VALUE["chain"]["block"]]}
    assert compare({**PACK_VALUE, "chain": both}, both["block"]["hash"]).ok


# ── Against the chain


def test_what_is_proved_of_a_running_chain_holds_and_a_header_of_another_does_not(
    certified: World,
) -> None:
    body = certified.proved()
    assert body["state"] is not None
    assert verify_certificate(certified.certificate(body), certified.network).failures == ()
    body["state"]["block"] = BLOCK
    failed = verify_certificate(certified.certificate(body), certified.network).failures
    assert [check.where for check in failed] == ["$.state.block.hash"]


def test_a_state_in_which_the_file_does_not_hold_is_not_proved(certified: World) -> None:
    body = certified.body()
    block = certified.network.client.head().number
    assert state.prove(certified.network, body, body["job"]["startedAt"]) is None
    body["job"]["deadline"] += 1
    assert state.prove(certified.network, body, block) is None


def test_the_places_are_those_of_the_contracts(certified: World) -> None:
    """Read from storage by the layout, they are what the contracts answer."""
    network = certified.network
    slots = AskedSlots(network.client, network.client.head().number)
    storage = Storage(slots, network.consortium.address)
    assert storage.address("consents") == network.consents.address.lower()
    job = storage["jobs"]["jobs"][certified.job]["job"]
    found = network.jobs.job(certified.job)
    assert (job["deadline"].value, job["endedAt"].value) == (found.deadline, found.ended_at)
    name = storage["membership"]["members"][certified.bank.member]["name"]
    assert name.holds(b"bank")
    assert not name.holds(b"ban")


def test_the_form_has_a_place_for_it() -> None:
    Certificate.model_validate(VALUE)
    Certificate.model_validate({**VALUE, "state": None})
