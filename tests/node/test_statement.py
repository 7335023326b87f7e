"""What a member's data was used for in a month: whole, signed, and made again by whoever checks."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chain import canonical
from chain.statement import bounds, signed_bytes, verify_statement, verify_statement_alone
from chain.testing import GENESIS_TIME
from node.api.app import create_app
from node.errors import NodeError
from node.ui.statement import render
from node.use_statement import content_of, statement
from tests.node import consortium
from tests.node.consortium import Consortium
from tests.node.face import is_problem, operator
from tests.node.test_certificate import conclude
from tests.node.test_cli import Run
from tests.node.test_specification import an_id

__all__ = ["run"]
from tests.node.test_cli import run

MONTH = datetime.fromtimestamp(GENESIS_TIME, UTC).strftime("%Y-%m")
NEXT = datetime.fromtimestamp(bounds(MONTH)[1], UTC).strftime("%Y-%m")
AFTER = datetime.fromtimestamp(bounds(NEXT)[1], UTC).strftime("%Y-%m")
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """In `MONTH` the shop's data was used twice, and a grant was revoked while the second job ran;
    in `NEXT` nothing happened."""
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    conclude(world, world.start())
    world.start()
    world.act("shop", world.network.consents.revoke(world.grant))
    world.settle(3)
    chain.travel(bounds(MONTH)[1] - world.network.client.head().timestamp + 60)
    world.settle(2)
    yield world
    world.close()


@pytest.fixture(scope="module")
def made(world: Consortium) -> dict[str, Any]:
    return statement(world.shop, MONTH)


def resigned(world: Consortium, made: dict[str, Any], change: Change) -> bytes:
    """The owner's node changes it and signs again."""
    altered = json.loads(json.dumps(made))
    change(altered)
    signature = world.shop.identity.sign_audit(signed_bytes(altered))
    return content_of(altered | {"signature": base64.b64encode(signature).decode()})


def test_it_tells_every_use_grant_and_revocation_of_the_month(
    world: Consortium, made: dict[str, Any]
) -> None:
    (data,) = made["datasets"]
    assert (data["dataset"], data["name"]) == (world.datasets["shop"], "shop rows")
    first, second = data["uses"]
    assert [use["state"] for use in data["uses"]] == ["SUCCEEDED", "FAILED"]
    assert {use["by"]["name"] for use in data["uses"]} == {"bank"}
    assert len(first["attested"]) == 2
    assert second["attested"] == []
    (grant,) = data["grants"]
    assert (grant["id"], grant["state"], grant["used"], grant["left"]) == (
        world.grant,
        "REVOKED",
        2,
        98,
    )
    assert second["started"]["block"] < grant["ended"]["block"] <= second["ended"]["block"]
    assert made["totals"] == {"uses": 2, "jobs": 2, "grantees": 1, "revoked": 1}
    assert made["month"]["over"]


def test_the_owners_own_uses_are_told_without_a_grant(world: Consortium) -> None:
    (data,) = statement(world.bank, MONTH)["datasets"]
    assert [use["grant"] for use in data["uses"]] == [None, None]
    assert data["grants"] == []


def test_how_fast_work_stopped_is_told_as_the_sites_signed_it(world: Consortium) -> None:
    from node.stops import settle

    for site in world.sites.values():
        settle(site)
    made = statement(world.shop, MONTH)
    (receipt,) = made["stops"]
    assert (receipt["site"], receipt["reason"]) == (world.shop.id, "GrantRevoked")
    assert receipt["job"] == made["datasets"][0]["uses"][1]["job"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda stop: stop.update(signature="A" * 86 + "=="), "$.stops[0].signature"),
        (lambda stop: stop.update(endedAt="2026-10-01T00:00:00Z"), "$.stops[0].signature"),
        (lambda stop: stop.update(keyId=an_id(3)), "$.stops[0].keyId"),
        (lambda stop: stop.update(site=an_id(3)), "$.stops[0].site"),
    ],
)
def test_a_receipt_of_a_stop_is_held_against_its_sites_key(
    world: Consortium, change: Change, where: str
) -> None:
    from node.stops import settle

    for site in world.sites.values():
        settle(site)
    made = statement(world.shop, MONTH)
    assert verify_statement(content_of(made), world.network).failures == ()
    altered = resigned(world, made, lambda s: change(s["stops"][0]))
    failed = verify_statement(altered, world.network).failures
    assert [check.where for check in failed] == [where]
    (told,) = [c for c in verify_statement_alone(altered).checks if c.where == "$.stops"]
    assert "nobody has checked" in told.detail


def test_a_stranger_makes_it_again_from_the_chain_and_finds_the_same(
    world: Consortium, made: dict[str, Any]
) -> None:
    report = verify_statement(content_of(made), world.network)
    assert report.failures == ()
    assert report.ok
    assert verify_statement_alone(content_of(made)).ok


def test_a_later_month_has_nothing_of_an_earlier_one(world: Consortium) -> None:
    made = statement(world.shop, NEXT, provisional=True)
    assert made["totals"]["uses"] == 0
    assert made["datasets"][0]["grants"] == []  # it was revoked before the month began
    assert not made["month"]["over"]
    assert verify_statement(content_of(made), world.network).ok


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda s: s["datasets"][0]["uses"].pop(), "$.totals.uses"),
        (lambda s: s.update(datasets=[]), "$.totals.uses"),
        (lambda s: s["datasets"][0]["grants"].clear(), "$.datasets[0].grants"),
        (lambda s: s["datasets"][0]["grants"][0].update(left=99), "$.datasets[0].grants[0].left"),
        (
            lambda s: s["datasets"][0]["uses"][0].update(purpose="x"),
            "$.datasets[0].uses[0].purpose",
        ),
        (lambda s: s["datasets"][0]["uses"][1].update(grant=None), "$.datasets[0].uses[1].grant"),
        (lambda s: s["month"].update(lastBlock=10), "$.month.lastBlock"),
        (lambda s: s["month"].update(name=NEXT), "$.month"),
        (lambda s: s["owner"].update(name="Somebody"), "$.owner.name"),
        (lambda s: s["owner"].update(member=an_id(3)), "$.owner.member"),
        (lambda s: s["issued"].update(keyId=an_id(3)), "$.issued.keyId"),
        (lambda s: s["issued"].update(publicKey=an_id(3)), "$.signature"),
        (lambda s: s["stops"].append({"job": an_id(3)}), "$.stops[0].job"),
        (lambda s: s.update(version=2), "$.version"),
        (lambda s: s.pop("totals"), "$.totals"),
        (lambda s: s.update(more=1), "$"),
    ],
)
def test_a_lie_is_found_at_its_place_though_the_owners_node_signed_it(
    world: Consortium, made: dict[str, Any], change: Change, where: str
) -> None:
    report = verify_statement(resigned(world, made | {"stops": []}, change), world.network)
    assert not report.ok
    assert any(check.where.startswith(where) for check in report.failures), report.failures


def test_a_use_left_out_with_its_sum_is_found_on_the_chain_alone(
    world: Consortium, made: dict[str, Any]
) -> None:
    def change(s: dict[str, Any]) -> None:
        s["datasets"][0]["uses"].pop()
        s["totals"].update(uses=1, jobs=1)

    content = resigned(world, made | {"stops": []}, change)
    assert verify_statement_alone(content).ok
    failed = verify_statement(content, world.network).failures
    assert [check.where for check in failed] == ["$.datasets[0].uses"]


def test_what_nobody_signed_is_found_without_a_chain(made: dict[str, Any]) -> None:
    altered = made | {"owner": made["owner"] | {"name": "Somebody"}}
    (failed,) = verify_statement_alone(content_of(altered)).failures
    assert failed.where == "$.signature"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]\n", b"\xff\n", b'{"a":1}\n', b"[" * 50_000 + b"\n"]
)
def test_what_is_no_statement_is_one_failed_check(content: bytes) -> None:
    (check,) = verify_statement_alone(content).checks
    assert (check.name, check.ok) == ("format", False)


def test_a_month_that_is_not_over_is_refused_unless_it_may_be_provisional(
    world: Consortium,
) -> None:
    for month, code in ((NEXT, "MonthNotOver"), (AFTER, "InvalidRequest"), ("x", "InvalidRequest")):
        with pytest.raises(NodeError) as refusal:
            statement(world.shop, month)
        assert refusal.value.code == code


def test_months_end_where_the_next_begins() -> None:
    assert bounds("2026-12")[1] == bounds("2027-01")[0]
    assert bounds("2028-02")[1] - bounds("2028-02")[0] == 29 * 86_400
    for wrong in ("2026-1", "2026-13", "26-10", "2026-10-01"):
        with pytest.raises(ValueError, match=r".+"):
            bounds(wrong)


async def test_the_interface_gives_the_file_and_the_page(world: Consortium) -> None:
    app = create_app(world.shop.settings.home, world.shop)
    async with operator(world.shop, app) as api:
        content = (await api.get(f"/v1/statements/{MONTH}")).content
        assert verify_statement(content, world.network).ok
        asked = {"format": "html", "language": "zh"}
        page = await api.get(f"/v1/statements/{MONTH}", params=asked)
        assert "数据使用月报" in page.text
        is_problem(await api.get(f"/v1/statements/{NEXT}"), 422, "MonthNotOver")


def test_the_page_stands_alone_and_holds_the_signed_statement(made: dict[str, Any]) -> None:
    evil = made | {"owner": made["owner"] | {"name": "</script><script>alert(1)</script>"}}
    for language in ("en", "zh"):
        page = render(evil, language)
        assert "<script>alert" not in page
        assert "src=" not in page
        assert "href=" not in page
        text = page.split('id="statement">')[1].split("</script>")[0]
        assert canonical.dumps(json.loads(text)) == canonical.dumps(evil)


def test_the_command_verifies_a_file_without_a_chain(
    run: Run, tmp_path: Path, made: dict[str, Any]
) -> None:
    file = tmp_path / "statement.json"
    file.write_bytes(content_of(made))
    told = run("verify", file, "--offline", "--json")
    assert (told.code, told.json["kind"], told.json["ok"]) == (0, "statement", True)
    assert "datasets" in told.json["unchecked"]
