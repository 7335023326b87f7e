"""Settings: the file, the environment, and what is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from node.errors import Invalid, Unauthenticated
from node.settings import Settings


def test_defaults_follow_the_home_and_the_port(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, port=8123)
    assert settings.database_url == f"sqlite:///{tmp_path}/node.db"
    assert settings.redis_url == f"unix://{tmp_path}/run/valkey.sock"
    assert settings.endpoint == "http://127.0.0.1:8123"
    assert settings.max_message_bytes == 256 * 1024**2


def test_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fatechain.toml").write_text('name = "bank"\nport = 8001\n')
    monkeypatch.setenv("FATECHAIN_PORT", "8002")
    settings = Settings.load(tmp_path)
    assert (settings.name, settings.port) == ("bank", 8002)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    name = 'Bänk "AG" \\ 银行'
    Settings.load(tmp_path, name=name, port=8001, explorer_open=True).save()
    loaded = Settings.load(tmp_path)
    assert (loaded.name, loaded.port, loaded.explorer_open) == (name, 8001, True)
    assert stat.S_IMODE((tmp_path / "fatechain.toml").stat().st_mode) == 0o600


def test_a_change_keeps_the_file_and_leaves_the_environment_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Settings.load(tmp_path, name="bank").save()
    monkeypatch.setenv("FATECHAIN_PORT", "8002")
    changed = Settings.load(tmp_path).change(site_id="0x" + "ab" * 32)
    assert (changed.site_id, changed.port) == ("0x" + "ab" * 32, 8002)
    assert "port" not in (tmp_path / "fatechain.toml").read_text()
    assert 'name = "bank"' in (tmp_path / "fatechain.toml").read_text()


@pytest.mark.parametrize(
    "line",
    [
        'sitte_id = "0x"',
        "port = 0",
        'site_id = "0xAB"',
        'endpoint = "ftp://bank"',
        "slots = 0",
        "name = ",
    ],
)
def test_a_wrong_setting_is_refused_with_its_name(tmp_path: Path, line: str) -> None:
    (tmp_path / "fatechain.toml").write_text(line)
    with pytest.raises(Invalid) as invalid:
        Settings.load(tmp_path)
    assert invalid.value.code == "InvalidSettings"
    assert "fatechain.toml" in invalid.value.detail


def test_a_bind_beyond_loopback_without_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="without TLS"):
        Settings.load(tmp_path, host="0.0.0.0")
    assert Settings.load(tmp_path, host="0.0.0.0", behind_tls_proxy=True).host == "0.0.0.0"
    Settings.load(tmp_path, host="0.0.0.0", tls_certificate="c.pem", tls_key="k.pem")


def test_the_password_comes_from_the_environment_a_named_file_or_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.load(tmp_path)
    with pytest.raises(Unauthenticated, match="PasswordMissing"):
        settings.password()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "password").write_text("home\n")
    assert settings.password() == b"home"
    (tmp_path / "elsewhere").write_text("file\n")
    monkeypatch.setenv("FATECHAIN_PASSWORD_FILE", str(tmp_path / "elsewhere"))
    assert settings.password() == b"file"
    monkeypatch.setenv("FATECHAIN_PASSWORD", "variable")
    assert settings.password() == b"variable"
