"""Putting a site, its data and its consent on the chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from chain.canonical import digest_of
from chain.consents import ALL_MEMBERS, GrantState, GrantTerms
from chain.errors import ContractRefused
from chain.ids import ZERO_ID
from ml.table import RowCommitment, commit_rows, open_row, read_csv, verify_row
from node import refusals
from node.errors import Conflict, Invalid, NodeError, NotFound, Refused
from node.registration import (
    BUDGET_SHARE,
    GrantRequest,
    add_version,
    column_rules,
    data_file,
    register_dataset,
    register_site,
    revoke_grant,
    set_endpoint,
    sign_grant,
    withdraw_version,
)
from node.site import Site
from node.store import AuditPayload, ChainTx, LocalDataset, PayloadKey
from node.submission import Submitted
from tests.node.newcomers import ALGORITHM, Newcomers, gather
from tests.node.told import pending

DAY = 86_400


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomers]:
    """Both members registered, each with a file of rows."""
    world = gather(tmp_path_factory.mktemp("registered"))
    world.register()
    world.place(world.bank, "credit.csv")
    world.place(world.shop, "visits.csv")
    yield world
    world.close()


@pytest.fixture(scope="module")
def dataset(world: Newcomers) -> str:
    submitted = register_dataset(world.shop, "visits.csv", "visits")
    world.settle()
    return submitted.id


def _state(site: Site, submitted: Submitted) -> str | None:
    with site.store.read() as session:
        return session.scalar(select(ChainTx.state).where(ChainTx.intent == submitted.intent))


def _pending(site: Site) -> int:
    with site.store.read() as session:
        return session.scalar(select(func.count()).select_from(ChainTx)) or 0


def _code(error: BaseException) -> str:
    return refusals.from_error(error).code


# ── Sites ────────────────────────────────────────────────────────────────────────────────────


def test_a_registered_site_stands_with_its_keys_and_endpoint(world: Newcomers) -> None:
    site = world.network.sites.site(world.bank.id)
    keys = {key.purpose: key.public_key for key in world.network.sites.keys(world.bank.id)}
    assert site.endpoint == world.bank.settings.endpoint
    assert site.member == world.members["bank"]
    assert keys == {
        "request": "0x" + world.bank.identity.request_public.hex(),
        "audit": "0x" + world.bank.identity.audit_public.hex(),
        "anchor": "0x" + world.bank.identity.public_key("anchor").hex(),
    }
    assert world.network.sites.is_active(world.bank.id)


def test_a_site_registers_with_keys_that_prove_themselves(world: Newcomers) -> None:
    sites = world.network.sites
    for site in (world.bank, world.shop):
        assert [sites.proves(site.id, key) for key in sites.keys(site.id)] == [True] * 3


def test_a_site_of_no_member_is_refused_and_nothing_is_left_behind(world: Newcomers) -> None:
    with pytest.raises(ContractRefused) as refusal:
        register_site(world.stranger, ("data-owner",))
    assert _code(refusal.value) == "MemberNotActive"
    assert not world.stranger.is_registered
    assert _pending(world.stranger) == 0


def test_a_registered_site_is_not_registered_again(world: Newcomers) -> None:
    with pytest.raises(Conflict):
        register_site(world.bank, ("data-owner",))


def test_a_role_that_does_not_exist_is_refused_with_those_that_do(world: Newcomers) -> None:
    with pytest.raises(Invalid) as refusal:
        register_site(world.stranger, ("king",))
    assert "auditor" in refusal.value.allowed


def test_a_moved_site_tells_its_new_endpoint(world: Newcomers) -> None:
    before = world.shop.settings.endpoint
    set_endpoint(world.shop, "http://shop.example")
    world.settle()
    assert world.network.sites.site(world.shop.id).endpoint == "http://shop.example"
    set_endpoint(world.shop, before)
    world.settle()
    assert world.shop.settings.endpoint == before


# ── Datasets ─────────────────────────────────────────────────────────────────────────────────


def test_a_dataset_is_on_the_chain_by_commitment_and_here_with_its_key(
    world: Newcomers, dataset: str
) -> None:
    version = world.network.datasets.version(dataset, 1)
    with world.shop.store.read() as session:
        local = session.get_one(LocalDataset, (dataset, 1))
    table = read_csv(local.path)
    again = commit_rows(table, local.commitment_key)
    assert (version.rows_root, version.rows) == (again.root, again.row_count)
    assert version.schema_digest == table.schema.digest


def test_a_row_can_be_opened_against_what_is_on_the_chain(world: Newcomers, dataset: str) -> None:
    version = world.network.datasets.version(dataset, 1)
    with world.shop.store.read() as session:
        local = session.get_one(LocalDataset, (dataset, 1))
    opened = open_row(read_csv(local.path), local.commitment_key, "u1")
    published = RowCommitment(version.rows_root, version.rows, version.schema_digest)
    assert verify_row(published, opened)


def test_the_log_tells_of_the_commitment_and_of_no_row(world: Newcomers) -> None:
    submitted = register_dataset(world.bank, "credit.csv", "told", label="y")
    told = [entry for entry in pending(world.bank.store) if entry["subject"] == submitted.id]
    assert [entry["type"] for entry in told] == ["fatechain.dataset.registered.v1"]
    assert set(told[0]["data"]) == {
        "intent",
        "name",
        "version",
        "schemaDigest",
        "rowsRoot",
        "rows",
        "columns",
    }


def test_a_repeated_request_registers_once(world: Newcomers) -> None:
    one = register_dataset(world.bank, "credit.csv", "once", label="y", key="the key")
    two = register_dataset(world.bank, "credit.csv", "once", label="y", key="the key")
    assert one == two
    world.settle()
    assert _state(world.bank, one) == "CONFIRMED"


def test_the_same_file_twice_has_two_commitments(world: Newcomers) -> None:
    ids = [register_dataset(world.bank, "credit.csv", "twice", label="y").id for _ in range(2)]
    with world.bank.store.read() as session:
        roots = {session.get_one(LocalDataset, (id, 1)).rows_root for id in ids}
    assert len(roots) == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("id,a\n1,2\n1,3\n", "DuplicateIds"),
        ("id,a\n,2\n", "MissingIds"),
        ("key,a\n1,2\n", "ColumnNotFound"),
        ("id,a\n1,2024-01-01\n", "UnreadableTable"),
        ("", "UnreadableTable"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_what_is_wrong(
    world: Newcomers, content: str, code: str
) -> None:
    world.place(world.bank, "broken.csv", content)
    with pytest.raises(Invalid) as refusal:
        register_dataset(world.bank, "broken.csv", "broken")
    assert refusal.value.code == code


def test_a_new_version_has_the_columns_of_the_first(world: Newcomers) -> None:
    dataset = register_dataset(world.shop, "visits.csv", "grows").id
    world.settle()
    world.place(world.shop, "other.csv", "id,a\n1,2\n2,3\n")
    with pytest.raises(Invalid) as refusal:
        add_version(world.shop, dataset, "other.csv")
    assert refusal.value.code == "DatasetMismatch"
    add_version(world.shop, dataset, "visits.csv")
    world.settle()
    assert world.network.datasets.dataset(dataset).versions == 2


def test_a_withdrawn_version_does_not_stand(world: Newcomers) -> None:
    dataset = register_dataset(world.shop, "visits.csv", "withdrawn").id
    world.settle()
    withdraw_version(world.shop, dataset, 1)
    world.settle()
    assert world.network.datasets.version(dataset, 1).until_block > 0


def test_a_version_of_another_site_cannot_be_withdrawn(world: Newcomers, dataset: str) -> None:
    with pytest.raises(ContractRefused) as refusal:
        withdraw_version(world.bank, dataset, 1)
    assert _code(refusal.value) in ("NotOwner", "NotOperator")


def test_a_dataset_of_another_site_gets_no_version_here(world: Newcomers, dataset: str) -> None:
    with pytest.raises(NotFound):
        add_version(world.bank, dataset, "credit.csv")


# ── Files ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "deeper").mkdir(parents=True)
    (folder / "in.csv").write_text("x")
    (folder / "deeper" / "in.csv").write_text("x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "out.csv").write_text("x")
    return folder


@pytest.mark.parametrize("path", ["in.csv", "deeper/in.csv", "./in.csv", "deeper/../in.csv"])
def test_a_file_below_the_data_folder_is_found(folder: Path, path: str) -> None:
    assert data_file(folder, path).name == "in.csv"


def test_an_absolute_path_below_the_data_folder_is_found(folder: Path) -> None:
    assert data_file(folder, str(folder / "in.csv")) == folder / "in.csv"


@pytest.mark.parametrize("path", ["../outside/out.csv", "/etc/passwd", "deeper/../../outside"])
def test_a_path_that_leads_outside_is_refused(folder: Path, path: str) -> None:
    with pytest.raises(Refused) as refusal:
        data_file(folder, path)
    assert refusal.value.code == "PathNotAllowed"


def test_a_folder_that_the_operator_linked_is_allowed(folder: Path) -> None:
    outside = folder.parent / "outside"
    (folder / "linked").symlink_to(outside)
    assert data_file(folder, "linked/out.csv") == outside / "out.csv"
    assert data_file(folder, str(outside / "out.csv")) == outside / "out.csv"


@pytest.mark.parametrize("path", ["a\0b", "x" * 999])
def test_a_path_that_no_file_can_have_is_refused(folder: Path, path: str) -> None:
    with pytest.raises(Invalid, match="no file can have"):
        data_file(folder, path)


@pytest.mark.parametrize("path", ["none.csv", "deeper", "."])
def test_what_is_no_file_is_not_found(folder: Path, path: str) -> None:
    with pytest.raises(NotFound):
        data_file(folder, path)


# ── Grants ───────────────────────────────────────────────────────────────────────────────────


def _request(world: Newcomers, dataset: str, **changes: Any) -> GrantRequest:
    terms = {"dataset": dataset, "grantee": world.members["bank"], "algorithms": (ALGORITHM,)}
    return GrantRequest(**(terms | changes))


def _terms(world: Newcomers, submitted: Submitted) -> GrantTerms:
    world.settle()
    return world.network.consents.record(submitted.id).terms


def test_a_signed_grant_is_active_under_the_id_that_was_foretold(
    world: Newcomers, dataset: str
) -> None:
    submitted = sign_grant(world.shop, _request(world, dataset, uses=3, min_rows=10))
    terms = _terms(world, submitted)
    assert world.network.consents.state(submitted.id) is GrantState.ACTIVE
    assert (terms.uses, terms.min_rows, terms.purposes) == (3, 10, ("training",))
    assert (terms.algorithms, terms.column_rules) == ((ALGORITHM,), ZERO_ID)
    assert terms.grantee == world.members["bank"]


def test_what_is_entered_of_a_grant_is_erased_with_its_dataset(
    world: Newcomers, dataset: str
) -> None:
    submitted = sign_grant(world.shop, _request(world, dataset, uses=2))
    (entry,) = (each for each in pending(world.shop.store) if each["subject"] == submitted.id)
    with world.shop.store.read() as session:
        key = session.get_one(AuditPayload, entry["id"]).key_id
        assert session.get_one(PayloadKey, key).scope == dataset


@pytest.mark.parametrize("by", ["member id", "member name", "site id", "site name"])
def test_a_grantee_is_a_member_or_a_site_by_id_or_name(
    world: Newcomers, dataset: str, by: str
) -> None:
    grantee = {
        "member id": world.members["bank"],
        "member name": "The bank",
        "site id": world.bank.id,
        "site name": "bank",
    }[by]
    submitted = sign_grant(world.shop, _request(world, dataset, grantee=grantee))
    assert _terms(world, submitted).grantee == world.members["bank"]


@pytest.mark.parametrize("grantee", ["all", ALL_MEMBERS])
def test_a_grant_may_be_to_all_members(world: Newcomers, dataset: str, grantee: str) -> None:
    submitted = sign_grant(world.shop, _request(world, dataset, grantee=grantee))
    assert _terms(world, submitted).grantee == ALL_MEMBERS


def test_a_grant_has_several_purposes_and_algorithms(world: Newcomers, dataset: str) -> None:
    other, purposes = "0x" + "b2" * 32, ("prediction", "training")
    request = _request(world, dataset, purposes=purposes, algorithms=(other, ALGORITHM))
    terms = _terms(world, sign_grant(world.shop, request))
    assert (terms.purposes, terms.algorithms) == (purposes, (other, ALGORITHM))


def test_a_purpose_that_the_consortium_does_not_allow_is_refused(
    world: Newcomers, dataset: str
) -> None:
    with pytest.raises(ContractRefused) as refusal:
        sign_grant(world.shop, _request(world, dataset, purposes=("training", "marketing")))
    assert _code(refusal.value) == "PurposeNotAllowed"


def test_column_rules_stay_here_and_their_digest_is_granted(world: Newcomers, dataset: str) -> None:
    rules = {"visits": "protocol", "spent": "join", "*": "none"}
    submitted = sign_grant(world.shop, _request(world, dataset, column_rules=rules))
    assert _terms(world, submitted).column_rules == digest_of(rules)
    assert column_rules(world.shop, submitted.id) == rules
    assert column_rules(world.bank, submitted.id) is None


def test_a_grant_that_is_asked_for_twice_keeps_its_column_rules(
    world: Newcomers, dataset: str
) -> None:
    request = _request(world, dataset, column_rules={"visits": "none"})
    first, again = (sign_grant(world.shop, request, key="columns") for _ in range(2))
    assert first == again
    assert column_rules(world.shop, first.id) == {"visits": "none"}


@pytest.mark.parametrize(
    ("rules", "found"), [({"weight": "join"}, ["weight"]), ({"visits": "read"}, ["read"])]
)
def test_column_rules_speak_of_the_datasets_columns(
    world: Newcomers, dataset: str, rules: dict[str, str], found: list[str]
) -> None:
    with pytest.raises(Invalid) as refusal:
        sign_grant(world.shop, _request(world, dataset, column_rules=rules))
    assert (refusal.value.code, refusal.value.found) == ("InvalidRequest", found)


@pytest.mark.parametrize("grantee", ["nobody", "0x" + "99" * 32])
def test_an_unknown_grantee_is_refused(world: Newcomers, dataset: str, grantee: str) -> None:
    with pytest.raises(Invalid):
        sign_grant(world.shop, _request(world, dataset, grantee=grantee))


def test_a_grant_without_a_time_ends_by_itself(world: Newcomers, dataset: str) -> None:
    now = world.network.client.head().timestamp
    terms = _terms(world, sign_grant(world.shop, _request(world, dataset)))
    assert now < terms.until <= now + 31 * DAY


def test_a_grant_for_some_seconds_counts_from_block_time(world: Newcomers, dataset: str) -> None:
    now = world.network.client.head().timestamp
    terms = _terms(world, sign_grant(world.shop, _request(world, dataset, expires_in=DAY)))
    assert terms.until == now + DAY


def test_two_ways_to_say_until_when_are_one_too_many(world: Newcomers, dataset: str) -> None:
    with pytest.raises(Invalid):
        sign_grant(world.shop, _request(world, dataset, expires_in=1, until=2))


def test_the_budget_follows_the_rows_unless_it_is_given(world: Newcomers, dataset: str) -> None:
    rows = world.network.datasets.version(dataset, 1).rows
    followed = _terms(world, sign_grant(world.shop, _request(world, dataset)))
    given = _terms(world, sign_grant(world.shop, _request(world, dataset, product_budget=5)))
    assert followed.product_budget == -(-rows // BUDGET_SHARE)
    assert given.product_budget == 5


def test_only_the_owner_of_the_data_grants(world: Newcomers, dataset: str) -> None:
    with pytest.raises(ContractRefused) as refusal:
        sign_grant(world.bank, _request(world, dataset))
    assert _code(refusal.value) == "SignatureInvalid"


def test_a_grant_on_unknown_data_is_refused(world: Newcomers) -> None:
    with pytest.raises((ContractRefused, NodeError)) as refusal:
        sign_grant(world.shop, _request(world, "0x" + "77" * 32))
    assert _code(refusal.value) == "DatasetUnknown"


def test_an_unknown_algorithm_is_refused(world: Newcomers, dataset: str) -> None:
    with pytest.raises(Invalid) as refusal:
        sign_grant(world.shop, _request(world, dataset, algorithms=(ALGORITHM, "magic")))
    assert refusal.value.code == "UnknownAlgorithm"


def test_a_revoked_grant_is_revoked_once(world: Newcomers, dataset: str) -> None:
    grant = sign_grant(world.shop, _request(world, dataset)).id
    world.settle()
    one, two = revoke_grant(world.shop, grant), revoke_grant(world.shop, grant)
    world.settle()
    assert one == two
    assert world.network.consents.state(grant) is GrantState.REVOKED


def test_only_the_owner_revokes(world: Newcomers, dataset: str) -> None:
    grant = sign_grant(world.shop, _request(world, dataset)).id
    world.settle()
    with pytest.raises(ContractRefused) as refusal:
        revoke_grant(world.bank, grant)
    assert _code(refusal.value) == "NotOwner"


def test_what_the_chain_refused_once_may_be_asked_again(world: Newcomers, dataset: str) -> None:
    grant = sign_grant(world.shop, _request(world, dataset)).id
    world.settle()
    first = revoke_grant(world.shop, grant)
    with world.shop.store.begin() as session:
        row = session.scalars(select(ChainTx).where(ChainTx.intent == first.intent)).one()
        row.state = "REFUSED"
    second = revoke_grant(world.shop, grant)
    assert second.intent != first.intent
    world.settle()
    assert world.network.consents.state(grant) is GrantState.REVOKED
