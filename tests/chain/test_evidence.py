"""A certificate of a real job holds; one that was touched anywhere fails and says where."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from chain import canonical
from chain.certificate import (
    SECTIONS,
    job_section,
    model_digest,
    parties_section,
    section_digests,
)
from chain.errors import ChainUnavailable, VerificationFailed
from chain.evidence import Report, verify_certificate
from chain.testing import InProcessChain
from tests.chain.world import World

Change = Callable[[dict[str, Any]], None]
OTHER = "0x" + "ab" * 32


@pytest.fixture(scope="module")
def done() -> World:
    return World(InProcessChain().client).found().run_job()


@pytest.fixture(scope="module")
def certificate(done: World) -> bytes:
    return done.certificate(done.proved())


@pytest.fixture
def fresh(world: World) -> World:
    """A job on a chain of this test alone."""
    return world.run_job()


def failures(report: Report) -> dict[str, str]:
    return {check.name: check.where for check in report.failures}


def resealed(world: World, change: Change) -> Report:
    """A dishonest issuer changes the body and signs it properly."""
    body = json.loads(canonical.dumps(world.body()))
    change(body)
    return verify_certificate(world.certificate(body), world.network)


def test_certificate_of_a_finished_job_holds(done: World, certificate: bytes) -> None:
    report = verify_certificate(certificate, done.network)
    assert report.failures == ()
    assert report.ok
    assert {check.name for check in report.checks} >= {*SECTIONS} - {"issued"} | {"signatures"}


def test_certificate_signed_by_all_parties_holds(done: World) -> None:
    report = verify_certificate(done.certificate(None, *done.parties), done.network)
    assert report.ok


def test_report_is_json(done: World, certificate: bytes) -> None:
    shown = verify_certificate(certificate, done.network).to_json()
    assert json.loads(json.dumps(shown))["ok"] is True


def test_every_changed_byte_is_found(done: World, certificate: bytes) -> None:
    # Checking one costs a few milliseconds on py-evm, so a sample that is spread over the file.
    chance = random.Random(7)
    stride = max(len(certificate) // 70, 1)
    for start in range(0, len(certificate), stride):
        at = min(start + chance.randrange(stride), len(certificate) - 1)
        changed = bytearray(certificate)
        changed[at] ^= 1 << chance.randrange(8)
        report = verify_certificate(bytes(changed), done.network)
        assert not report.ok, f"byte {at} changed unnoticed"
        assert all(check.where.startswith("$") for check in report.failures)


def test_every_value_that_is_changed_with_its_section_digest_kept_names_the_section(
    done: World, certificate: bytes
) -> None:
    value = json.loads(certificate)
    for name in SECTIONS:
        changed = json.loads(certificate)
        parent, key = _first_leaf(changed, name)
        parent[key] = _other(parent[key])
        report = verify_certificate(canonical.dumps(changed) + b"\n", done.network)
        named = [c.where for c in report.failures if c.name in ("sections", "format")]
        assert any(where.startswith(f"$.{name}") for where in named), name
    assert value["sections"] == section_digests(value)


def test_spare_bits_of_a_signature_cannot_be_changed(done: World, certificate: bytes) -> None:
    value = json.loads(certificate)
    signature = value["signatures"][0]["signature"]
    assert signature.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet.index(signature[-3])
    value["signatures"][0]["signature"] = signature[:-3] + alphabet[last ^ 1] + "=="
    report = verify_certificate(canonical.dumps(value) + b"\n", done.network)
    assert failures(report) == {"signatures": "$.signatures[0].signature"}


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("nothing", b""),
        ("no newline", b"{}"),
        ("two newlines", b"{}\n\n"),
        ("another type", b"[]\n"),
        ("text", b"certificate\n"),
        ("no UTF-8", b"\xff\xfe\n"),
        ("spaces", b'{ "version": 1 }\n'),
        ("a key twice", b'{"a":1,"a":1}\n'),
        ("a huge number", b'{"version":1' + b"0" * 5000 + b"}\n"),
        ("no number", b'{"version":NaN}\n'),
        ("depth", b"[" * 100_000 + b"]" * 100_000 + b"\n"),
        ("a field missing", b'{"version":1}\n'),
    ],
)
def test_malformed_file_is_a_failed_check(done: World, what: str, data: bytes) -> None:
    report = verify_certificate(data, done.network)
    assert [check.name for check in report.checks] == ["format"], what
    assert not report.ok
    assert report.checks[0].where.startswith("$")


def test_file_beyond_the_limit_is_refused_unread(
    done: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.standalone.MAX_BYTES", 10)
    report = verify_certificate(b"[" * 11, done.network)
    assert report.checks[0].detail == "found 11 bytes, expected at most 10"


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
def test_no_change_of_a_value_makes_the_verifier_raise(
    done: World, certificate: bytes, data: st.DataObject
) -> None:
    value = json.loads(certificate)
    parent, key = data.draw(st.sampled_from(list(_places(value))))
    parent[key] = data.draw(
        st.sampled_from([None, True, -1, 0, 2**53 - 1, "", "0x", OTHER, [], {}, [[]], 0.5, "1"])
    )
    before = json.loads(certificate)
    report = verify_certificate(canonical.dumps(value) + b"\n", done.network)
    assert report.ok == (value == before)


# ── an issuer who lies and signs


@pytest.mark.parametrize(
    ("change", "name", "where"),
    [
        (lambda b: b["network"].update(chainId=1), "network", "$.network.chainId"),
        (lambda b: b["job"].update(startedAt=1), "job", "$.job.startedAt"),
        (lambda b: b["job"].update(id=OTHER), "job", "$.job"),
        (lambda b: b["specification"].update(kind="x"), "specification", "$.specification"),
        (lambda b: b["parties"].pop(), "parties", "$.parties"),
        (lambda b: b["parties"].reverse(), "parties", "$.parties[0].site"),
        (
            lambda b: b["parties"][1]["datasets"][0]["grant"]["terms"].update(uses=9),
            "parties",
            "$.parties[1].datasets[0].grant.terms.uses",
        ),
        (
            lambda b: b["parties"][1]["datasets"][0].update(grant=None),
            "parties",
            "$.parties[1].datasets[0].grant",
        ),
        (
            lambda b: b["parties"][0]["datasets"][0].update(rowsRoot=OTHER),
            "parties",
            "$.parties[0].datasets[0].rowsRoot",
        ),
        (
            lambda b: b["parties"][0]["requestKey"].update(id=OTHER),
            "parties",
            "$.parties[0].requestKey.id",
        ),
        (lambda b: b["result"]["metrics"].update(extra=1), "result", "$.result.digest"),
        (lambda b: b["result"].update(digest=OTHER), "result", "$.result.digest"),
        (lambda b: b.update(model=None), "model", "$.model"),
        (lambda b: b["model"].update(digest=OTHER), "model", "$.model.digest"),
        (lambda b: b["model"].update(id=OTHER), "model", "$.model"),
        (lambda b: b["steps"][0]["outputs"].popitem(), "steps", "$.steps[0].outputs"),
        (lambda b: b["steps"][0].update(attempt=2), "steps", "$.steps[0].outputs"),
        (lambda b: b["logs"].pop(), "logs", "$.logs"),
        (lambda b: b["logs"][0]["anchored"].update(root=OTHER), "logs", "$.logs[0].anchored.root"),
        (lambda b: b["logs"][0]["anchored"].update(size=2), "logs", "$.logs"),
        (lambda b: b["logs"][0]["anchored"].update(block=1), "logs", "$.logs[0].anchored.block"),
        (
            lambda b: b["logs"][0]["anchored"].update(cosigners=[OTHER]),
            "logs",
            "$.logs[0].anchored.cosigners",
        ),
        (
            lambda b: b["logs"][0]["anchored"].update(txHash=OTHER),
            "logs",
            "$.logs[0].anchored.txHash",
        ),
        (
            lambda b: b["logs"][0]["entries"][0]["entry"].update(actor="x"),
            "logs",
            "$.logs[0].entries[0].leafHash",
        ),
        (
            lambda b: b["logs"][1]["entries"][2]["proof"].reverse(),
            "logs",
            "$.logs[1].entries[2].proof",
        ),
        (lambda b: b["logs"][0]["entries"].reverse(), "logs", "$.logs[0].entries"),
        (
            lambda b: b["reconciliation"].update(messages=3),
            "reconciliation",
            "$.reconciliation.messages",
        ),
        (
            lambda b: b["reconciliation"]["keys"].pop(),
            "reconciliation",
            "$.reconciliation.keys",
        ),
        (lambda b: _drop(b, 0, "message.sent"), "reconciliation", "$.logs[1].entries"),
        (lambda b: _drop(b, 1, "message.received"), "reconciliation", "$.logs[0].entries"),
        (lambda b: _drop(b, 1, "result.attested"), "result", "$.result.digest"),
        (lambda b: _drop(b, 1, "task.finished"), "steps", "$.steps[0].outputs"),
    ],
)
def test_lie_that_is_signed_is_found(done: World, change: Change, name: str, where: str) -> None:
    found = failures(resealed(done, change))
    assert name in found
    assert found[name].startswith(where)


def test_signature_of_a_stranger_is_refused(done: World) -> None:
    value = json.loads(done.certificate())
    value["signatures"][0]["site"] = OTHER
    report = verify_certificate(canonical.dumps(value) + b"\n", done.network)
    assert "signatures" in failures(report)


def test_signature_of_another_party_cannot_stand_for_the_issuers(done: World) -> None:
    report = verify_certificate(done.certificate(None, done.shop), done.network)
    assert failures(report) == {"signatures": "$.signatures"}


def test_issuer_that_is_no_party_is_refused(done: World) -> None:
    def change(body: dict[str, Any]) -> None:
        body["issued"]["by"] = OTHER

    assert "signatures" in failures(resealed(done, change))


def test_certificate_of_another_consortium_is_refused(
    certificate: bytes, chain: InProcessChain
) -> None:
    other = World(chain.client).found()
    found = failures(verify_certificate(certificate, other.network))
    assert found["network"].startswith("$.network")
    assert "job" in found


def test_seal_refuses_a_body_of_another_shape(done: World) -> None:
    body = done.body()
    del body["reconciliation"]
    with pytest.raises(ValidationError):
        done.certificate(body)


# ── what happened on chain before and after


def test_certificate_of_a_failed_job_is_refused(fresh: World) -> None:
    body = fresh.body()
    job = fresh.start(nonce=77)
    fail = fresh.network.jobs.fail(job, fresh.shop.site, "WorkerLost")
    fresh.send(fresh.shop.operator, fail)
    body["job"] = job_section(fresh.network, job)
    report = verify_certificate(fresh.certificate(body), fresh.network)
    assert failures(report)["job"] == "$.job"
    assert "found FAILED" in next(c.detail for c in report.failures if c.name == "job")


def test_a_model_of_other_parts_than_the_attested_ones_is_refused(fresh: World) -> None:
    fresh.model = fresh.register(OTHER, 7)
    report = verify_certificate(fresh.certificate(), fresh.network)
    assert failures(report) == {"model": "$.model.digest"}


def test_a_models_digest_is_that_of_the_parts_of_all_parties() -> None:
    parts = [{"site": OTHER, "digest": "0x" + "cd" * 32}]
    stated = f'{{"job":"{OTHER}","parts":[{{"digest":"0x{"cd" * 32}","site":"{OTHER}"}}]}}'
    assert model_digest(OTHER, parts) == canonical.digest(stated.encode())


def test_certificate_of_a_running_job_cannot_be_built(world: World) -> None:
    job = world.start()
    with pytest.raises(VerificationFailed, match="none valid when the job ended"):
        parties_section(world.network, job)


def test_grant_revoked_after_the_start_does_not_spoil_the_certificate(fresh: World) -> None:
    assert fresh.shop.grant is not None
    fresh.send(fresh.shop.account, fresh.network.consents.revoke(fresh.shop.grant))
    assert verify_certificate(fresh.certificate(), fresh.network).ok


def test_key_revoked_after_the_end_does_not_spoil_the_certificate(fresh: World) -> None:
    certificate = fresh.certificate()
    call = fresh.network.sites.revoke_key(fresh.bank.site, fresh.request_key(fresh.bank))
    fresh.send(fresh.bank.account, call)
    assert verify_certificate(certificate, fresh.network).ok


def test_member_expelled_and_code_forbidden_afterwards_do_not_spoil_it(fresh: World) -> None:
    certificate = fresh.certificate()
    net = fresh.network
    fresh.send(fresh.authority, net.membership.expel(fresh.shop.member))
    code = net.jobs.job(fresh.job).algorithm
    fresh.send(fresh.authority, net.consortium.forbid_algorithm(code))
    assert verify_certificate(certificate, net).ok
    fresh.send(fresh.authority, net.consortium.allow_algorithm(code, "secureboost again"))
    assert verify_certificate(certificate, net).ok


def test_head_anchored_later_does_not_spoil_the_certificate(fresh: World) -> None:
    certificate = fresh.certificate()
    fresh.bank.tell("job.certified", fresh.job)
    fresh.anchor(fresh.bank)
    assert verify_certificate(certificate, fresh.network).ok


def test_unreachable_chain_fails_the_checks(
    done: World, certificate: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object, **__: object) -> None:
        raise ChainUnavailable("http://chain.example", "ConnectionError")

    monkeypatch.setattr(done.network.client, "call", silent)
    report = verify_certificate(certificate, done.network)
    assert not report.ok
    assert any("cannot be checked" in check.detail for check in report.failures)


def _drop(body: dict[str, Any], log: int, kind: str) -> None:
    """The issuer leaves out the first entry of that kind."""
    entries = body["logs"][log]["entries"]
    entries.remove(next(e for e in entries if e["entry"]["type"] == f"fatechain.{kind}.v1"))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a JSON value."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _first_leaf(value: Any, name: str) -> tuple[Any, Any]:
    leaves = ((p, k) for p, k in _places(value[name]) if not isinstance(p[k], dict | list))
    return next(leaves)


def _other(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("0x"):
        return value[:-1] + ("0" if value[-1] != "0" else "1")
    return value + 1 if isinstance(value, int) else f"{value}x"
