"""API keys that the command line keeps for nodes elsewhere: one file of the user's own, mode 0600.

It lies at ``FATECHAIN_CREDENTIALS``, or below ``XDG_CONFIG_HOME`` (``~/.config``): never in a
node's home, which is the node's.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from node.errors import Invalid
from node.files import make_private, write_private
from node.origins import origin_of


def path() -> Path:
    if given := os.environ.get("FATECHAIN_CREDENTIALS"):
        return Path(given)
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "fatechain" / "credentials.json"


def find(url: str) -> str | None:
    """The key that is kept for the node at this address, if it has not ended."""
    kept = _read().get(origin_of(url))
    if kept is None or kept["expires_at"] <= time.time():
        return None
    return str(kept["key"])


def keep(url: str, made: dict[str, Any]) -> Path:
    """Keep a key as `POST /v1/api-keys` showed it, instead of the one before; where it lies."""
    return _write(_read() | {origin_of(url): {name: made[name] for name in _FIELDS}})


def forget(url: str) -> dict[str, Any] | None:
    """Take the key of a node out of the file; what it was."""
    kept = _read()
    gone: dict[str, Any] | None = kept.pop(origin_of(url), None)
    if gone is not None:
        _write(kept)
    return gone


_FIELDS = ("id", "key", "person", "expires_at")


def _read() -> dict[str, Any]:
    file = path()
    if not file.exists():
        return {}
    if file.stat().st_mode & 0o077:
        raise Invalid(
            "CredentialsExposed",
            f"others may read {file}",
            hint="chmod 600 it, and revoke its keys: `fatechain api-key revoke`",
        )
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        for entry in kept.values():
            if not entry.keys() >= set(_FIELDS):
                raise ValueError("a field is missing")
    except (ValueError, AttributeError) as error:
        raise Invalid(
            "InvalidSettings",
            f"{file} is no file of credentials",
            hint="remove it and sign in again",
        ) from error
    found: dict[str, Any] = kept
    return found


def _write(kept: dict[str, Any]) -> Path:
    file = path()
    make_private(file.parent)
    write_private(file, json.dumps(kept, indent=2).encode())
    return file
