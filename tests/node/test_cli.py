"""The command line, as a person and as a program use it, against a node behind real HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chain.network import NetworkFile
from node.cli import main
from node.cli.work import _request
from node.errors import Invalid
from node.settings import Settings
from node.site import Site
from node.store import Waiting
from node.ui.verifier import page as verifier_page
from tests.node.face import (
    add_entries,
    add_evidence,
    add_job,
    add_sent,
    add_work,
    make_site,
    new_id,
    serving,
    token_of,
    told_message,
)
from tests.node.test_reconciliation_shown import missing, verdict

VECTORS = Path(__file__).parents[1] / "vectors"
NETWORK = NetworkFile(31337, "0x5FbDB2315678afecb367f032d93F642f64180aa3", 4)


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def problem(self) -> dict[str, Any]:
        problem: dict[str, Any] = json.loads(self.err)
        return problem


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command with nothing in the environment that would lead it elsewhere."""
    for name in [name for name in os.environ if name.startswith("FATECHAIN_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str | Path) -> Result:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        code = end.value.code
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with make_site(tmp_path_factory.mktemp("cli") / "bank") as site:
        yield site


@pytest.fixture(scope="module")
def at(site: Site) -> Iterator[tuple[str, ...]]:
    """The options that lead to the running node."""
    with serving(site) as url:
        yield ("--url", url, "--token", token_of(site))


# ── A home of one's own ──────────────────────────────────────────────────────────────────────


def test_init_makes_a_home_and_tells_the_account_to_admit(run: Run, tmp_path: Path) -> None:
    network = tmp_path / "network.json"
    network.write_text(NETWORK.to_json())
    home = tmp_path / "bank"
    made = run("init", home, "--name", "bank", "--network", network, "--port", "8123", "--json")
    assert made.code == 0
    settings = Settings.load(home)
    assert made.json["account"].startswith("0x")
    assert (settings.port, settings.consortium, settings.chain_id, settings.from_block) == (
        8123,
        NETWORK.consortium,
        31337,
        4,
    )
    assert oct((home / "secrets" / "operator-token").stat().st_mode & 0o777) == "0o600"
    again = run("init", home, "--name", "bank", "--json")
    assert (again.code, again.problem["code"]) == (1, "SiteExists")


def test_init_without_its_chain_asks_for_no_admission_and_says_so(run: Run, tmp_path: Path) -> None:
    network = tmp_path / "network.json"
    network.write_text(NETWORK.to_json())
    options = ("--name", "bank", "--network", network, "--rpc", "http://127.0.0.1:9")
    made = run("init", tmp_path / "bank", *options, "--json")
    assert (made.code, made.json["admission_request"]) == (0, None)
    assert not (tmp_path / "bank" / "admission-request.json").exists()


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("--account", "0x" + "11" * 20, "--name", "First Bank"),
        ("--request", "request.json", "--name", "First Bank"),
        ("--request", "missing.json"),
    ],
)
def test_nobody_is_admitted_without_a_signed_request(run: Run, given: tuple[str, ...]) -> None:
    result = run("member", "admit", *given, "--json")
    assert (result.code, result.problem["code"]) == (1, "InvalidRequest")


def test_init_tells_no_secret(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "bank"
    made = run("init", home, "--name", "bank", "--json")
    for name in ("password", "operator-token"):
        assert (home / "secrets" / name).read_text() not in made.out + made.err


def test_a_bind_beyond_loopback_needs_tls(run: Run, tmp_path: Path) -> None:
    result = run("init", tmp_path / "open", "--name", "open", "--host", "0.0.0.0", "--json")
    assert (result.code, result.problem["code"]) == (1, "InvalidSettings")
    assert not (tmp_path / "open" / "fatechain.toml").exists()


def test_a_network_file_that_is_none_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "network.json").write_text("{}")
    for network in ("network.json", "missing.json"):
        result = run(
            "init", tmp_path / "x", "--name", "x", "--network", tmp_path / network, "--json"
        )
        assert (result.code, result.problem["code"]) == (1, "InvalidRequest")


def test_a_command_without_a_home_says_how_to_name_one(run: Run) -> None:
    result = run("job", "list", "--json")
    assert result.code == 1
    assert "FATECHAIN_HOME" in result.problem["hint"]


def test_a_folder_that_is_no_home_is_refused(run: Run, tmp_path: Path) -> None:
    result = run("health", "--home", tmp_path, "--json")
    assert (result.code, result.problem["code"]) == (1, "NotFound")


def test_a_node_that_does_not_run_is_named(run: Run, site: Site) -> None:
    result = run("job", "list", "--home", site.settings.home, "--json")
    assert (result.code, result.problem["code"]) == (1, "NodeUnreachable")
    assert result.out == ""


def test_up_refuses_a_home_without_a_consortium(run: Run, site: Site) -> None:
    result = run("up", "--home", site.settings.home, "--json")
    assert (result.code, result.problem["code"]) == (1, "NotConfigured")


# ── Being asked wrongly ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments", [("job", "show"), ("job", "nothing"), ("init", "--nothing"), ("verify",)]
)
def test_wrong_usage_is_a_problem_and_code_two(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments, "--json")
    assert result.code == 2
    assert result.problem["code"] == "InvalidRequest"


def test_a_person_gets_words_instead_of_json(run: Run) -> None:
    result = run("job", "list")
    assert result.code == 1
    assert "InvalidRequest" in result.err
    assert "{" not in result.err


# ── Speaking to a node ───────────────────────────────────────────────────────────────────────


def test_a_wrong_token_is_refused_by_the_node(run: Run, at: tuple[str, ...]) -> None:
    result = run("job", "list", *at[:2], "--token", "wrong", "--json")
    assert (result.code, result.problem["status"]) == (1, 401)


def test_jobs_are_listed_over_all_pages(run: Run, at: tuple[str, ...], site: Site) -> None:
    jobs = {add_job(site, "CANCELLED") for _ in range(3)}
    found = run("job", "list", "--state", "CANCELLED", *at, "--json").json
    assert jobs <= {job["id"] for job in found}


def test_a_job_is_shown_with_its_steps(run: Run, at: tuple[str, ...], site: Site) -> None:
    id = add_job(site)
    add_work(site, id)
    shown = run("job", "show", id, *at)
    assert shown.code == 0
    assert "secureboost" in shown.out
    assert "train" in shown.out


def test_watching_ends_with_the_job_and_fails_when_it_failed(
    run: Run, at: tuple[str, ...], site: Site
) -> None:
    good = add_job(site, "SUCCEEDED", certificate="jobs/x/certificate.json")
    bad = add_job(site, "FAILED", reason="WorkerLost: killed")
    assert run("job", "watch", good, *at, "--json").code == 0
    failed = run("job", "watch", bad, *at, "--json")
    assert (failed.code, failed.json["reason"]) == (1, "WorkerLost: killed")


def test_watching_gives_up_after_its_time(run: Run, at: tuple[str, ...], site: Site) -> None:
    result = run("job", "watch", add_job(site), "--timeout", "1", *at, "--json")
    assert (result.code, result.problem["code"]) == (1, "TimedOut")


def test_messages_tell_whether_both_ends_agree(run: Run, at: tuple[str, ...], site: Site) -> None:
    job, digest = add_job(site), new_id()
    add_sent(site, job, 0, digest)
    add_evidence(site, job, told_message("received", 0, digest))
    found = run("job", "messages", job, *at, "--json").json
    assert [message["agree"] for message in found] == [True]


def test_logs_that_differ_are_told_with_the_site_and_end_with_one(
    run: Run, at: tuple[str, ...], site: Site
) -> None:
    good = add_job(site, "SUCCEEDED", reconciliation=verdict())
    bad = add_job(site, "SUCCEEDED", reconciliation=verdict(missing()))
    assert run("job", "reconcile", good, *at).code == 0
    told = run("job", "reconcile", bad, *at)
    assert told.code == 1
    assert "approval" in told.out
    assert "missing" in told.out


def test_a_specification_is_written_in_its_canonical_bytes(
    run: Run, at: tuple[str, ...], site: Site, tmp_path: Path
) -> None:
    id = add_job(site, specification={"b": 1, "a": [True]})
    out = tmp_path / "specification.json"
    assert run("job", "specification", id, "--out", out, *at, "--json").code == 0
    assert out.read_bytes() == b'{"a":[true],"b":1}'


def test_a_certificate_is_saved_byte_for_byte(
    run: Run, at: tuple[str, ...], site: Site, tmp_path: Path
) -> None:
    (site.settings.jobs / "certificate.json").write_bytes(b'{"version":1}\n')
    id = add_job(site, "SUCCEEDED", certificate="jobs/certificate.json")
    out = tmp_path / "certificate.json"
    assert run("job", "certificate", id, "--out", out, *at).code == 0
    assert out.read_bytes() == b'{"version":1}\n'


def test_entries_are_listed_and_one_is_proved(run: Run, at: tuple[str, ...], site: Site) -> None:
    add_entries(site, 3)
    found = run("audit", "list", "--limit", "2", *at, "--json").json
    assert len(found) == 2
    shown = run("audit", "show", "0", *at, "--json").json
    assert shown["proof"]["verified"] is True
    assert run("audit", "show", "0", *at).code == 0
    assert run("audit", "checkpoint", *at, "--json").json["size"] >= 3


def test_health_is_code_one_unless_all_parts_are_ready(run: Run, at: tuple[str, ...]) -> None:
    result = run("health", *at, "--json")
    assert result.code == 1
    assert result.json["ready"] is False
    assert run("health", *at).code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("model", "list"),
        ("predict", "list"),
        ("transaction", "list"),
        ("audit", "list"),
        ("job", "list"),
    ],
)
def test_lists_are_tables_for_people_and_json_for_programs(
    run: Run, at: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    assert run(*arguments, *at).code == 0
    assert isinstance(run(*arguments, *at, "--json").json, list)


@pytest.mark.parametrize(
    "arguments", [("site", "list"), ("dataset", "list"), ("grant", "list"), ("network",)]
)
def test_a_refusal_of_the_node_is_told_as_it_was(
    run: Run, at: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    result = run(*arguments, *at, "--json")
    assert (result.code, result.problem["code"]) == (1, "NotConfigured")


# ── Requests from options ────────────────────────────────────────────────────────────────────


def test_parties_and_parameters_become_a_request() -> None:
    request = _request(
        None, ["guest:0xa:0xd", "host:0xb:0xe@2:0xf", "arbiter:0xc"], "secureboost", ["depth=4"]
    )
    assert request == {
        "algorithm": "secureboost",
        "params": {"depth": 4},
        "parties": [
            {
                "site": "0xa",
                "role": "guest",
                "inputs": [{"dataset": "0xd", "version": 1, "grant": None}],
            },
            {
                "site": "0xb",
                "role": "host",
                "inputs": [{"dataset": "0xe", "version": 2, "grant": "0xf"}],
            },
            {"site": "0xc", "role": "arbiter", "inputs": []},
        ],
    }


@pytest.mark.parametrize("party", ["guest", "host:a:b:c:d", "host:a:b@x"])
def test_a_party_of_another_form_is_refused(party: str) -> None:
    with pytest.raises(Invalid):
        _request(None, [party], "secureboost", None)


def test_a_request_comes_from_one_place(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text('{"parties": []}')
    assert _request(file, None, "x", None) == {"parties": []}
    with pytest.raises(Invalid):
        _request(file, ["guest:a"], "x", None)
    with pytest.raises(Invalid):
        _request(None, None, "x", None)


# ── Verifying ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", ["", "not json", "{}", '{"network":{"consortium":"0x12"}}'])
def test_what_names_no_consortium_does_not_hold(run: Run, tmp_path: Path, content: str) -> None:
    file = tmp_path / "certificate.json"
    file.write_text(content)
    result = run("verify", file, "--rpc", "http://127.0.0.1:9", "--json")
    assert result.code == 1
    assert result.json["ok"] is False
    assert result.json["checks"][0]["where"] == "$.network.consortium"


def test_a_certificate_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    result = run("verify", tmp_path / "none.json", "--json")
    assert result.code == 1
    assert "none.json" in result.problem["detail"]


def test_a_chain_that_does_not_answer_verifies_nothing(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "certificate.json"
    file.write_text(json.dumps({"network": {"consortium": NETWORK.consortium}}))
    result = run("verify", file, "--rpc", "http://127.0.0.1:9", "--json")
    assert (result.code, result.problem["code"]) == (1, "ChainUnavailable")


def test_a_certificate_is_held_against_itself_where_no_chain_is(run: Run) -> None:
    result = run("verify", VECTORS / "certificate.json", "--offline", "--json")
    assert (result.code, result.json["ok"]) == (0, True)
    assert "compare its hash" in result.json["unchecked"]["block"]
    shown = run("verify", VECTORS / "certificate.json", "--offline").out
    assert "The file holds together" in shown
    assert "Only the chain can tell" in shown


def test_a_changed_certificate_fails_where_no_chain_is(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "certificate.json"
    content = (VECTORS / "certificate.json").read_bytes()
    file.write_bytes(content.replace(b'"auc":0.775', b'"auc":0.975'))
    result = run("verify", file, "--offline", "--json")
    assert (result.code, result.json["ok"]) == (1, False)
    failed = [check["where"] for check in result.json["checks"] if not check["ok"]]
    assert failed[0] == "$.result"


def test_offline_a_file_is_held_against_the_block_that_its_reader_knows(
    run: Run, tmp_path: Path
) -> None:
    file, header = VECTORS / "certificate.json", tmp_path / "header.json"
    block = json.loads(file.read_bytes())["state"]["block"]
    header.write_text(json.dumps({"jsonrpc": "2.0", "result": {"hash": block["hash"]}}))
    for told in (block["hash"], block["header"], header):
        result = run("verify", file, "--offline", "--block", told, "--json")
        assert (result.code, result.json["checks"][-1]["name"]) == (0, "block")
        assert "block" not in result.json["unchecked"]
    other = run("verify", file, "--offline", "--block", "0x" + "ab" * 32, "--json")
    assert (other.code, other.json["checks"][-1]["ok"]) == (1, False)
    asked = run("verify", file, "--block", block["hash"], "--json")
    assert (asked.code, asked.problem["code"]) == (1, "InvalidRequest")


def test_offline_a_file_is_held_against_no_consortium(run: Run) -> None:
    file = VECTORS / "certificate.json"
    result = run("verify", file, "--offline", "--consortium", NETWORK.consortium, "--json")
    assert (result.code, result.problem["code"]) == (1, "InvalidRequest")


def test_the_verifiers_page_is_written_whole(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "verifier.html"
    told = run("verifier", "--out", out, "--json").json
    assert out.read_bytes() == verifier_page()
    assert told == {"file": str(out), "sha256": hashlib.sha256(verifier_page()).hexdigest()}


# ── Approval ─────────────────────────────────────────────────────────────────────────────────


def test_a_rule_is_added_listed_and_removed(run: Run, at: tuple[str, ...]) -> None:
    options = ("--purpose", "training", "--dataset", new_id(), "--max-per-day", "3")
    made = run("rule", "add", "trainings", *options, *at, "--json").json
    assert made["conditions"]["max_per_day"] == 3
    assert made["id"] in [rule["id"] for rule in run("rule", "list", *at, "--json").json]
    assert run("rule", "remove", made["id"], *at, "--json").json["active"] is False
    shown = run("rule", "list", *at)
    assert shown.code == 0
    assert "trainings" in shown.out


def test_what_waits_is_listed_for_a_person(run: Run, at: tuple[str, ...], site: Site) -> None:
    job, now = add_job(site, "PROPOSED"), time.time()
    why = [{"rule": "r", "name": "trainings", "why": "2 members take part; the rule asks for 3"}]
    with site.store.begin() as session:
        session.add(Waiting(job_id=job, since=now, timeout_at=now + 60, looked_at=now, why=why))
    shown = run("waiting", *at)
    assert shown.code == 0
    assert "Jobs to approve or reject" in shown.out
    assert "the rule asks for 3" in " ".join(shown.out.split())
    assert [waiting["id"] for waiting in run("waiting", *at, "--json").json["jobs"]] == [job]


def test_a_command_warns_a_person_while_the_chain_is_stale(run: Run, at: tuple[str, ...]) -> None:
    """The site of these tests has never seen a chain."""
    assert "THE CHAIN IS STALE" in run("job", "list", *at).err
    assert "THE CHAIN IS STALE" in run("job", "show", "0x00", *at).err  # a refusal, too
    quiet = run("job", "list", *at, "--json")
    assert quiet.err == ""
    assert run("health", *at, "--json").json["stale"] is True
