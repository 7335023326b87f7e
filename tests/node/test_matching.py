"""Jobs that only match or count: who learns what, at both nodes, from proposal to attestation."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from ml.algorithm import code_digest
from ml.errors import DuplicateIds
from ml.federation import InMemoryTransport
from node import steps
from node.admission import decide
from node.api.views import common
from node.errors import NodeError
from node.facts import gather, stored_specification
from node.jobs import InputRequest, JobRequest, PartyRequest
from node.projection import STEPS
from node.proposal import specify
from node.specification import MATCHING_ONLY, RoleName, Specification
from node.steps import PROGRAMS, Output
from tests.node import consortium
from tests.node.consortium import Consortium
from tests.node.test_specification import document
from tests.node.test_steps import NAMES, conversation, run_step

COMMON = 108  # the shop lacks every tenth of 120


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    for name in ("psi", "counting"):
        world.govern(world.network.consortium.allow_algorithm(code_digest(name), name))
    world.grant = world.give_grant(algorithms=(code_digest("psi"), code_digest("counting")))
    world.chain.mine(3)
    world.settle()
    yield world
    world.close()


def ids_of(name: str) -> list[str]:
    return [line.split(",")[0] for line in consortium.rows_of(name).splitlines()[1:]]


def asked(kind: str, **terms: Any) -> dict[str, Any]:
    """What a request for such a job says."""
    usual = {"kind": kind, "algorithm": MATCHING_ONLY[kind], "holdout": None}
    return usual | {"purpose": "training"} | terms


def run(world: Consortium, kind: str, **terms: Any) -> tuple[str, dict[str, Output]]:
    """A job from proposal to attestation; its id, and what its first step left at each party."""
    job = world.start(**asked(kind, **terms))

    async def both() -> dict[str, Output]:
        outputs = await run_step(world, job, STEPS[kind][0])
        await run_step(world, job, "result")
        return outputs

    outputs = asyncio.run(both())
    world.settle(2)
    assert str(world.network.jobs.state(job)) == "SUCCEEDED"
    return job, outputs


@pytest.fixture(scope="module")
def started(world: Consortium) -> str:
    """A job of which no step has run."""
    return world.start(**asked("match"))


def agreed(world: Consortium, job: str, **changes: Any) -> Specification:
    """What was agreed of a job, with other terms of matching or of another kind."""
    found = stored_specification(world.bank, job)
    assert found is not None
    kind = changes.pop("kind", "match")
    terms = found.to_document()["psi"] | changes
    other = {"kind": kind, "algorithm": MATCHING_ONLY[kind], "psi": terms}
    return Specification.model_validate(found.to_document() | other)


def lines(output: Output) -> list[tuple[int, str]]:
    found = list(csv.reader(io.StringIO(output.files["matched.csv"].decode())))
    assert found[0] == ["common", "id"]
    return [(int(number), id) for number, id in found[1:]]


def test_a_job_may_end_with_the_common_rows_and_no_model(world: Consortium) -> None:
    job, outputs = run(world, "match")
    told = {name: lines(outputs[name]) for name in NAMES}
    assert told["bank"] == told["shop"]
    assert {id for _, id in told["bank"]} == set(ids_of("bank")) & set(ids_of("shop"))
    assert [number for number, _ in told["bank"]] == list(range(COMMON))
    result = world.job("shop", job).result
    assert result is not None
    assert result["metrics"] == {}
    shown = common.show(world.shop, job, limit=5)
    assert (shown.common, shown.state, len(shown.rows)) == (COMMON, "SUCCEEDED", 5)
    after = common.show(world.shop, job, limit=200, cursor=shown.next)
    assert [row.id for row in shown.rows + after.rows] == [id for _, id in told["shop"]]
    assert after.next is None


def test_a_job_may_end_with_a_number_that_the_guest_alone_learns(world: Consortium) -> None:
    job, outputs = run(world, "count", result="guest")
    assert set(outputs["bank"].files) == {"common.json", "part.bin", "salt"}
    assert json.loads(outputs["bank"].files["common.json"]) == {"common": COMMON}
    assert set(outputs["shop"].files) == {"part.bin", "salt"}
    assert outputs["shop"].files["part.bin"] == b""
    found = {name: common.show(world.sites[name], job, limit=5).common for name in NAMES}
    assert found == {"bank": COMMON, "shop": None}


@pytest.mark.parametrize(
    ("kind", "result", "told"),
    [
        ("match", "all", "protocols.psi.matching.Matched"),
        ("match", "guest", None),
        ("count", "all", "protocols.psi.counting.Count"),
        ("count", "guest", None),
    ],
)
async def test_a_host_that_shall_learn_nothing_is_sent_nothing_and_keeps_nothing(
    world: Consortium, started: str, kind: str, result: str, told: str | None
) -> None:
    step, spec = STEPS[kind][0], agreed(world, started, kind=kind, result=result)
    ends = conversation(world, started, step, spec)
    outputs = dict(
        zip(
            NAMES,
            await asyncio.gather(*(PROGRAMS[step](ends[site]) for site in NAMES)),
            strict=True,
        )
    )
    transport, shop = ends["shop"].channel.transport, ends["shop"].me
    assert isinstance(transport, InMemoryTransport)
    heard = {said.address.kind for said in transport.transcript if said.address.receiver == shop}
    of_results = {"protocols.psi.matching.Matched", "protocols.psi.counting.Count"}
    assert heard & of_results == ({told} if told else set())
    kept = {"part.bin", "salt", *(["common.json"] if told else [])}
    if kind == "match":
        assert len(lines(outputs["bank"])) == COMMON
        kept |= {"matched.csv"} if told else set()
    assert set(outputs["shop"].files) == kept


PAIRS = {"bank": ("age", "income"), "shop": ("visits", "spent")}


async def test_rows_are_matched_by_several_columns_and_grouped(
    world: Consortium, started: str
) -> None:
    """By two columns that repeat: as many people as pairs that both have, each with its rows."""
    terms = {"minimumIntersection": 10, "columns": list(PAIRS.values()), "duplicates": "group"}
    outputs = await run_step(world, started, "psi", agreed(world, started, **terms))
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name in NAMES:
        rows = csv.DictReader(io.StringIO(consortium.rows_of(name)))
        found[name] = {row["id"]: tuple(row[column] for column in PAIRS[name]) for row in rows}
    expected = set(found["bank"].values()) & set(found["shop"].values())
    told = {name: lines(outputs[name]) for name in NAMES}
    person = {number: found["bank"][id] for number, id in told["bank"]}
    assert sorted(person.values()) == sorted(expected)
    for name in NAMES:
        wanted = [id for id, pair in found[name].items() if pair in expected]
        assert sorted(id for _, id in told[name]) == sorted(wanted)
        assert all(person[number] == found[name][id] for number, id in told[name])
    assert common.show(world.bank, started, limit=1).common == len(expected)


async def test_rows_that_repeat_an_id_are_refused_where_nobody_groups_them(
    world: Consortium, started: str
) -> None:
    spec = agreed(world, started, columns=[["age"], ["visits"]])
    with pytest.raises(DuplicateIds):
        await run_step(world, started, "psi", spec)


async def test_a_training_may_match_by_a_column_and_holds_the_same_people_out(
    world: Consortium, started: str
) -> None:
    """What decides who is held out is what the parties have in common, not the ids of a file."""
    spec = agreed(world, started, columns=[["id"], ["id"]])
    train = {"kind": "train", "algorithm": "secureboost", "label": "y"}
    held = {"holdout": {"fraction": "0.2", "salt": "0x" + "07" * 32}}
    trained = Specification.model_validate(spec.to_document() | train | held)
    await run_step(world, started, "psi", trained)
    ends = conversation(world, started, "train", trained)
    tables = [steps._aligned(ends[name]) for name in NAMES]
    ids = [[table.ids[row] for row in held_out] for table, (_, held_out) in tables]
    assert ids[0] == ids[1]
    assert len(ids[0]) > 5


def test_who_learns_what_is_asked_for_stands_in_what_is_proposed(world: Consortium) -> None:
    parties: tuple[tuple[RoleName, str, str | None], ...] = (
        ("guest", "bank", None),
        ("host", "shop", world.grant),
    )
    request = JobRequest(
        kind="match",
        purpose="training",
        result="guest",
        duplicates="group",
        parties=tuple(
            PartyRequest(
                site=world.sites[name].id,
                role=role,
                inputs=(InputRequest(dataset=world.datasets[name], grant=grant, on=PAIRS[name]),),
            )
            for role, name, grant in parties
        ),
    )
    spec = specify(world.bank, world.network, request)
    assert (spec.algorithm, spec.params, spec.holdout, spec.label) == ("psi", {}, None, None)
    assert (spec.psi.result, spec.psi.duplicates) == ("guest", "group")
    assert spec.columns_of(world.shop.id) == PAIRS["shop"]


def test_what_rows_are_matched_by_must_be_there_and_allowed(
    world: Consortium, started: str
) -> None:
    facts = gather(world.shop, started, "task")
    assert decide(facts).allowed

    def judged(**terms: Any) -> tuple[str, ...]:
        return decide(replace(facts, specification=agreed(world, started, **terms))).codes

    assert "ColumnNotFound" in judged(columns=[["age"], ["height"]])
    assert "ColumnNotFound" not in judged(columns=[["age"], ["visits"]])
    withheld = replace(facts.privacy, withheld=frozenset({"visits"}))
    facts = replace(facts, privacy=withheld)
    assert "ColumnNotAllowed" in judged(columns=[["age"], ["visits"]])
    assert "ColumnNotAllowed" not in judged()
    facts = replace(facts, privacy=replace(facts.privacy, min_rows=60))
    assert "TooFewRows" in judged()


def test_a_grant_for_training_is_none_for_matching_alone(world: Consortium) -> None:
    only = world.give_grant()
    for kind in ("match", "count"):
        with pytest.raises(NodeError) as refusal:
            world.propose(**asked(kind, grant=only))
        assert refusal.value.code == "GrantWrongAlgorithm"


def test_who_only_matches_names_the_purpose(world: Consortium) -> None:
    with pytest.raises(NodeError, match="purpose"):
        world.propose(**asked("match", purpose=None))


MATCH = {"kind": "match", "algorithm": "psi", "label": None, "holdout": None}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"algorithm": "psi"}, "does not run psi"),
        (MATCH | {"algorithm": "counting"}, "does not run counting"),
        (MATCH | {"kind": "count"}, "does not run psi"),
        (MATCH | {"label": "y"}, "no label"),
        ({"psi": {"minimumIntersection": 50, "result": "guest"}}, "all parties"),
        ({"psi": {"minimumIntersection": 50, "duplicates": "group"}}, "each id once"),
        (MATCH | {"psi": {"minimumIntersection": 50, "columns": [["a"], []]}}, "a list for each"),
        (MATCH | {"psi": {"minimumIntersection": 50, "columns": [["a"]]}}, "a list for each"),
        (MATCH | {"psi": {"minimumIntersection": 50, "columns": [["a"], ["b", "c"]]}}, "same num"),
        (
            MATCH | {"psi": {"minimumIntersection": 50, "columns": [["a", "a"], ["b", "c"]]}},
            "twice",
        ),
        (
            MATCH
            | {"kind": "count", "algorithm": "counting"}
            | {"psi": {"minimumIntersection": 50, "protocol": "kkrt"}},
            "by ecdh",
        ),
    ],
)
def test_terms_that_no_job_can_keep_are_no_specification(
    changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        Specification.model_validate(document(**changes))
    good = Specification.model_validate(document(**MATCH))
    assert good.columns_of(good.parties[0].site) == ()


def test_who_learns_is_part_of_the_bytes_that_are_approved() -> None:
    told = [
        Specification.model_validate(document(**MATCH, psi={"minimumIntersection": 50} | more))
        for more in ({}, {"result": "guest"}, {"duplicates": "group"}, {"columns": [["a"], ["b"]]})
    ]
    assert len({found.digest for found in told}) == 4
    assert told[0].to_document()["psi"] == {"minimumIntersection": 50}
    assert told[3].columns_of(told[3].parties[1].site) == ("b",)
