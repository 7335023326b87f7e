"""A site's settings: ``fatechain.toml`` in its home folder, overridden by ``FATECHAIN_*``.

They are read once, when a process starts, and handed down.  Secrets are not among them: the
password comes from ``FATECHAIN_PASSWORD``, the file that ``FATECHAIN_PASSWORD_FILE`` names, or
``secrets/password`` in the home.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from node.errors import Invalid, Unauthenticated
from node.files import write_private

FILE_NAME = "fatechain.toml"
MIB = 1024 * 1024
ID = r"^0x[0-9a-f]{64}$"
ADDRESS = r"^0x[0-9a-fA-F]{40}$"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

SiteRoleName = Literal["data-owner", "model-user", "coordinator", "auditor"]


class Settings(BaseSettings):
    """All that a site's operator may set; seconds and bytes where a name says so."""

    model_config = SettingsConfigDict(env_prefix="FATECHAIN_", extra="forbid", frozen=True)

    home: Path
    name: str = Field("site", min_length=1, max_length=64)
    site_id: str | None = Field(None, pattern=ID)
    member_id: str | None = Field(None, pattern=ID)
    # What this site registers itself as once its account is a member's; none: an operator does it.
    roles: tuple[SiteRoleName, ...] = ()

    rpc_url: str = "http://127.0.0.1:8545"
    chain_id: int | None = None  # None: whatever chain the endpoint serves
    consortium: str | None = Field(None, pattern=ADDRESS)
    from_block: int = Field(0, ge=0)  # where the consortium was deployed: nothing to read before
    confirmations: int = Field(2, ge=0, le=1000)
    staleness_seconds: float = Field(60, gt=0)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    # The URL under which partners reach this site: their requests are signed for it.
    endpoint: str = Field(
        default_factory=lambda set_: f"http://{set_['host']}:{set_['port']}",
        pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$",
    )
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_tls_proxy: bool = False

    database_url: str = Field(default_factory=lambda set_: f"sqlite:///{set_['home']}/node.db")
    redis_url: str = Field(default_factory=lambda set_: f"unix://{set_['home']}/run/valkey.sock")

    key_overlap_seconds: float = Field(3600, ge=0)  # a rotated key stands this long beside its heir
    lease_seconds: float = Field(15, gt=0)
    anchor_every_seconds: float = Field(30, gt=0)
    anchor_every_entries: int = Field(1000, gt=0)
    publish_every_seconds: float = Field(30, gt=0)  # a head is shown so long, to be cosigned
    witness_every_seconds: float = Field(10, gt=0)  # look at each other site's head
    mirror: bool = True  # keep copies of the other sites' logs
    mirror_every_seconds: float = Field(30, gt=0)
    mirror_max_bytes: int = Field(4096 * MIB, gt=0)  # of one log
    monitor_silent_seconds: float = Field(300, gt=0)  # a log that shows no head for so long
    monitor_anchor_seconds: float = Field(600, gt=0)  # entries that no anchor covers for so long
    monitor_reread_seconds: float = Field(3600, gt=0)  # read this site's own log as a whole
    webhook_url: str | None = None  # told of alerts; the secret lies in …
    webhook_secret_file: Path | None = None  # … this file, or secrets/webhook
    step_timeout_seconds: float = Field(600, gt=0)
    message_timeout_seconds: float = Field(120, gt=0)
    max_message_bytes: int = Field(256 * MIB, gt=0)
    mailbox_quota_bytes: int = Field(4096 * MIB, gt=0)  # per sender, of what was not yet taken

    execute_proposals: bool = True  # queue and execute what the members have passed

    approval_remind_seconds: float = Field(86_400, gt=0)  # a proposal that waits for a person
    approval_timeout_seconds: float = Field(604_800, gt=0)  # and then is rejected

    policy_url: str | None = None  # asked before each job: an HTTP service, or …
    policy_command: tuple[str, ...] | None = Field(None, min_length=1)  # … a program
    policy_timeout_seconds: float = Field(5, gt=0, le=60)

    # No job switches these off.
    privacy_min_rows: int = Field(0, ge=0)
    privacy_withheld_columns: tuple[str, ...] = ()
    privacy_metric_noise: float = Field(0, ge=0, le=1)  # Laplace scale; no formal guarantee

    explorer_open: bool = False
    # Who may read the log's tiles, besides operators and auditors.
    log_hashes: Literal["open", "members"] = "open"
    log_entries: Literal["open", "members"] = "members"
    slots: int = Field(2, ge=1, le=1000)
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=1000)

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @field_validator("endpoint")
    @classmethod
    def _without_slash(cls, endpoint: str) -> str:
        return endpoint.rstrip("/")

    @model_validator(mode="after")
    def _refuse_open_plaintext(self) -> Self:
        protected = self.behind_tls_proxy or (self.tls_certificate and self.tls_key)
        if self.host not in LOOPBACK and not protected:
            raise ValueError(
                f"host {self.host} is reachable from outside without TLS; set tls_certificate and "
                "tls_key, or behind_tls_proxy when a proxy on this machine ends TLS"
            )
        return self

    @model_validator(mode="after")
    def _one_policy(self) -> Self:
        if self.policy_url is None:
            return self
        if self.policy_command is not None:
            raise ValueError("set policy_url or policy_command, not both")
        url = urlsplit(self.policy_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"policy_url {self.policy_url} is no http or https URL")
        if url.scheme == "http" and url.hostname not in LOOPBACK:
            raise ValueError(
                f"policy_url {self.policy_url} would be asked without TLS over a network; use "
                "https, or a service on this machine"
            )
        return self

    @model_validator(mode="after")
    def _webhook_somewhere(self) -> Self:
        if self.webhook_url is None:
            return self
        url = urlsplit(self.webhook_url)
        if url.scheme not in ("http", "https") or not url.hostname or url.username:
            raise ValueError("webhook_url is no http or https URL without credentials")
        if url.scheme == "http" and url.hostname not in LOOPBACK:
            raise ValueError(
                "webhook_url would be told without TLS over a network; use https, or a service on "
                "this machine"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = Path(init_settings()["home"]).expanduser()
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, home / FILE_NAME),
        )

    @classmethod
    def load(cls, home: Path, **changes: Any) -> Self:
        """The settings of the site at ``home``; raises `Invalid` (``InvalidSettings``).

        ``changes`` go before the environment and the file, and are not saved.
        """
        try:
            return cls(home=home, **changes)
        except (ValidationError, tomllib.TOMLDecodeError) as error:
            raise Invalid(
                "InvalidSettings",
                f"{Path(home) / FILE_NAME}: {_told(error)}",
                hint="correct the file or the FATECHAIN_* variable of that name",
            ) from error

    def save(self) -> None:
        """Write what was set, leaving out what has its default."""
        self._write(self.model_dump(mode="json", include=self.model_fields_set - {"home"}))

    def change(self, **changes: Any) -> Self:
        """Save ``changes`` in the file (nothing that came from the environment) and load it."""
        path = self.home / FILE_NAME
        kept = tomllib.loads(path.read_text()) if path.exists() else {}
        checked = type(self).load(self.home, **{**kept, **changes})
        self._write(checked.model_dump(mode="json", include=(kept.keys() | changes.keys())))
        return type(self).load(self.home)

    def _write(self, values: dict[str, Any]) -> None:
        lines = [f"{k} = {_toml(v)}\n" for k, v in values.items() if v is not None]
        write_private(self.home / FILE_NAME, "".join(lines).encode())

    # ── Where things lie ─────────────────────────────────────────────────────────────────────

    @property
    def keys(self) -> Path:
        return self.home / "keys"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def log(self) -> Path:
        """The tiles of the audit log."""
        return self.home / "log"

    @property
    def mirror_folder(self) -> Path:
        """Copies of the other sites' logs."""
        return self.home / "mirror"

    @property
    def statements(self) -> Path:
        """Data-use statements of the months that ended."""
        return self.home / "statements"

    @property
    def audits(self) -> Path:
        """Packs that answer requests of audits: those given and those received."""
        return self.home / "audits"

    @property
    def spool(self) -> Path:
        """Bodies of messages under way."""
        return self.home / "spool"

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def jobs(self) -> Path:
        return self.home / "jobs"

    @property
    def run(self) -> Path:
        """Process ids and sockets."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def folders(self) -> tuple[Path, ...]:
        return (
            self.home,
            self.keys,
            self.secrets,
            self.log,
            self.spool,
            self.data,
            self.jobs,
            self.run,
            self.logs,
        )

    def password(self) -> bytes:
        """What the key files are encrypted with; raises `Unauthenticated` (``PasswordMissing``)."""
        if given := os.environ.get("FATECHAIN_PASSWORD"):
            return given.encode()
        path = Path(os.environ.get("FATECHAIN_PASSWORD_FILE") or self.secrets / "password")
        if not path.is_file():
            raise Unauthenticated(
                "PasswordMissing",
                f"no password for the keys: {path} does not exist",
                hint="set FATECHAIN_PASSWORD, or FATECHAIN_PASSWORD_FILE to a file that holds it",
            )
        return path.read_bytes().strip()


def _toml(value: Any) -> str:
    # A JSON string is a TOML basic string as long as nothing is written as a surrogate pair.
    return json.dumps(value, ensure_ascii=False)


def _told(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}"
        for e in error.errors(include_input=False, include_url=False)
    )
