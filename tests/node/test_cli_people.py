"""People and keys from the command line, against a node behind real HTTP."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chain.testing import InProcessChain
from node import credentials
from node.cli import main
from node.site import Site
from tests.node.crowd import add, make_wallet_site, wallet
from tests.node.face import serving, token_of

DOMAIN = "127.0.0.1:8000"
ADA = 3

Run = Callable[..., Any]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where the command line keeps keys in this test."""
    return tmp_path / "config" / "credentials.json"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kept: Path) -> Run:
    """Runs a command; its JSON answer, or the problem it was refused with."""
    for name in [name for name in os.environ if name.startswith("FATECHAIN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FATECHAIN_CREDENTIALS", str(kept))

    def run(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--json"])
        said = capsys.readouterr()
        return json.loads(said.err if end.value.code else said.out)

    return run


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("cli") / "bank"
    with make_wallet_site(home, InProcessChain(), endpoint=f"http://{DOMAIN}") as site:
        add(site, ADA, "data-scientist", "auditor")
        yield site


@pytest.fixture(scope="module")
def url(site: Site) -> Iterator[str]:
    with serving(site) as url:
        yield url


@pytest.fixture
def at(site: Site, url: str) -> tuple[str, ...]:
    return ("--url", url, "--token", token_of(site))


def test_a_person_is_added_changed_listed_and_disabled(run: Run, at: tuple[str, ...]) -> None:
    address = wallet(5).address
    made = run("person", "add", address, "--name", "Bob", "--role", "delegate", "--days", "7", *at)
    assert (made["state"], made["roles"]) == ("ACTIVE", ["delegate"])
    assert 6 * 86_400 < made["until"] - time.time() < 8 * 86_400
    assert run("person", "roles", address, "--role", "auditor", *at)["roles"] == ["auditor"]
    assert "Bob" in {person["name"] for person in run("person", "list", *at)}
    assert run("person", "disable", address, *at)["state"] == "DISABLED"


def test_a_key_is_made_used_listed_and_revoked(
    run: Run, at: tuple[str, ...], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = wallet(ADA).address
    made = run("api-key", "create", "--name", "nightly", "--role", "auditor", "--person", ada, *at)
    monkeypatch.setenv("FATECHAIN_TOKEN", made["key"])
    me = run("whoami", "--url", url)
    assert (me["how"], me["roles"]) == ("api-key", ["auditor"])
    assert made["id"] in {key["id"] for key in run("api-key", "list", "--url", url)}
    assert run("api-key", "revoke", made["id"], *at)["state"] == "REVOKED"
    assert run("whoami", "--url", url)["code"] == "Unauthenticated"


def test_signing_in_keeps_a_key_that_only_its_owner_reads(run: Run, url: str, kept: Path) -> None:
    done = run("sign-in", "--key", f"dev:{ADA}", "--domain", DOMAIN, "--url", url)
    assert done["roles"] == ["data-scientist", "auditor"]
    assert oct(kept.stat().st_mode & 0o777) == "0o600"
    assert "key" not in done  # what opens the node stands in the file alone
    assert run("whoami", "--url", url)["address"] == wallet(ADA).address.lower()
    assert run("sign-out", "--url", url)["revoked"] is not None
    assert run("whoami", "--url", url)["code"] == "Unauthenticated"


def test_signing_in_takes_no_more_roles_than_asked_for(run: Run, url: str) -> None:
    run("sign-in", "--key", f"dev:{ADA}", "--domain", DOMAIN, "--role", "auditor", "--url", url)
    assert run("whoami", "--url", url)["roles"] == ["auditor"]


def test_a_node_that_calls_itself_otherwise_gets_no_signature(
    run: Run, url: str, kept: Path
) -> None:
    refused = run("sign-in", "--key", f"dev:{ADA}", "--url", url)
    assert (refused["code"], refused["found"]) == ("AnotherNode", DOMAIN)
    assert not kept.exists()


def test_an_account_that_nobody_added_is_told_so(run: Run, url: str, kept: Path) -> None:
    refused = run("sign-in", "--key", "dev:9", "--domain", DOMAIN, "--url", url)
    assert refused["code"] == "PersonUnknown"
    assert not kept.exists()


def test_a_file_that_others_may_read_is_refused(run: Run, url: str, kept: Path) -> None:
    run("sign-in", "--key", f"dev:{ADA}", "--domain", DOMAIN, "--url", url)
    kept.chmod(0o644)
    assert run("whoami", "--url", url)["code"] == "CredentialsExposed"


def test_a_key_is_kept_for_its_node_and_its_time(
    monkeypatch: pytest.MonkeyPatch, kept: Path
) -> None:
    monkeypatch.setenv("FATECHAIN_CREDENTIALS", str(kept))
    made = {"id": "1", "key": "fck_1", "person": "0x", "expires_at": time.time() + 60}
    credentials.keep("https://bank.example/", made)
    credentials.keep("https://shop.example", made | {"expires_at": time.time() - 1})
    assert credentials.find("https://bank.example:443") == "fck_1"
    assert credentials.find("https://shop.example") is None
    assert credentials.find("http://bank.example") is None


def test_a_file_of_another_form_is_refused(run: Run, url: str, kept: Path) -> None:
    kept.parent.mkdir()
    kept.write_text('{"http://x": 7}')
    kept.chmod(0o600)
    assert run("whoami", "--url", url)["code"] == "InvalidSettings"
