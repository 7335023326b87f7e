"""The keys of a site, and the home they lie in."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select

from node.audit.entries import record
from node.errors import Conflict, NotFound, Unauthenticated
from node.identity import Identity, create_keys
from node.settings import Settings
from node.site import Site
from node.store import AuditPending
from tests.node.told import available
from tests.node.two_sites import FAST_SCRYPT

PASSWORD = b"correct horse"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    create_keys(home, PASSWORD, scrypt_cost=FAST_SCRYPT)
    return home


def test_keys_are_the_same_after_loading_them_again(home: Path) -> None:
    one, two = (Identity.load(Settings.load(home), PASSWORD) for _ in range(2))
    assert one.request_public == two.request_public
    assert one.audit_public == two.audit_public
    assert one.account.key == two.account.key
    assert one.account.address == one.address


def test_requests_and_checkpoints_are_signed_with_different_keys(home: Path) -> None:
    identity = Identity.load(Settings.load(home), PASSWORD)
    assert identity.request_public != identity.audit_public
    request = Ed25519PublicKey.from_public_bytes(identity.public_key("request"))
    audit = Ed25519PublicKey.from_public_bytes(identity.public_key("audit"))
    request.verify(identity.sign(b"x"), b"x")
    audit.verify(identity.sign_audit(b"x"), b"x")


def test_the_anchor_key_is_an_account_apart_from_the_one_that_sends(home: Path) -> None:
    identity = Identity.load(Settings.load(home), PASSWORD)
    address = "0x" + identity.public_key("anchor").hex()
    assert identity.anchor_account.address.lower() == address != identity.address.lower()


def test_a_key_in_anothers_file_is_not_taken_for_it(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "keys", tmp_path / "keys")
    (tmp_path / "keys" / "audit.pem").write_bytes((home / "keys" / "anchor.pem").read_bytes())
    with pytest.raises(Unauthenticated, match="WrongKey"):
        Identity.load(Settings.load(tmp_path), PASSWORD)


def test_no_file_holds_a_key_in_the_open_or_is_readable_by_others(home: Path) -> None:
    for file in (home / "keys").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert b"ENCRYPTED" in file.read_bytes() or b'"ciphertext"' in file.read_bytes()
    assert stat.S_IMODE((home / "keys").stat().st_mode) == 0o700


def test_a_wrong_password_opens_nothing_and_is_not_repeated(home: Path) -> None:
    with pytest.raises(Unauthenticated, match="WrongPassword") as wrong:
        Identity.load(Settings.load(home), b"hunter2")
    assert "hunter2" not in str(wrong.value)


def test_keys_are_never_replaced(home: Path) -> None:
    with pytest.raises(Conflict, match="KeysExist"):
        create_keys(home, PASSWORD, scrypt_cost=FAST_SCRYPT)


def test_a_home_without_keys_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="KeysMissing") as missing:
        Identity.load(Settings.load(tmp_path), PASSWORD)
    assert missing.value.hint is not None
    assert "init" in missing.value.hint


def test_a_new_site_is_whole_private_and_made_once(tmp_path: Path) -> None:
    with Site.create(tmp_path / "bank", name="bank", scrypt_cost=FAST_SCRYPT) as site:
        assert not site.is_registered
        with pytest.raises(Conflict, match="NotRegistered"):
            _ = site.id
        for folder in site.settings.folders:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        token = site.settings.secrets / "operator-token"
        assert len(token.read_text()) >= 40
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
    with pytest.raises(Conflict, match="SiteExists"):
        Site.create(tmp_path / "bank", name="bank", scrypt_cost=FAST_SCRYPT)


def test_a_given_password_is_kept_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Site.create(tmp_path / "s", name="s", password="s3cret!", scrypt_cost=FAST_SCRYPT)
    made.close()
    for file in (tmp_path / "s").rglob("*"):
        assert not file.is_file() or b"s3cret!" not in file.read_bytes()
    with pytest.raises(Unauthenticated, match="PasswordMissing"):
        Site.open(tmp_path / "s")
    monkeypatch.setenv("FATECHAIN_PASSWORD", "s3cret!")
    Site.open(tmp_path / "s").close()


def test_entries_name_the_site_as_soon_as_it_is_registered(tmp_path: Path) -> None:
    with Site.create(tmp_path / "s", name="shop", scrypt_cost=FAST_SCRYPT) as site:
        site_id = "0x" + "5e" * 32
        for _ in range(2):
            with site.store.begin() as session:
                record(session, "chain.available", "urn:chain", available(), "sync")
            site.change(site_id=site_id)
        with site.store.read() as session:
            before, after = session.scalars(select(AuditPending.entry))
        assert b'"source":"urn:fatechain:shop"' in before
        assert f'"source":"{site_id}"'.encode() in after


def test_opening_the_module_of_a_site_imports_nothing_heavy() -> None:
    heavy = "{'web3', 'numpy', 'sklearn', 'eth_account', 'numba', 'torch', 'pyarrow'}"
    code = f"import sys, node.site; print(sorted({heavy} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
