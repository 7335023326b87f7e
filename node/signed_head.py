"""The highest head of this site's log that its anchor key signed, beside the database.

It lies in ``run/``, which no backup of the database brings back: a restored database that goes on
another way meets it before a second history is signed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from node.audit.tree import differs
from node.errors import Failed
from node.files import make_private, write_private

if TYPE_CHECKING:
    from node.site import Site

NAME = "signed-head.json"
ROOT_BYTES = 32


def continued(site: Site, size: int, root: bytes) -> None:
    """Hold the log against a head that is known of it.

    Raises `Failed` (``AuditLogDiffers``) unless the log has it.
    """
    present = site.log.size
    if size > present:
        raise differs(present, f"the log has {present} entries and a head of {size} is known")
    if size and site.log.root(size) != root:
        raise differs(size - 1, f"another head of {size} entries is known")


def may_sign(site: Site, size: int) -> bool:
    """Keep the head of ``size`` as signed; False where a higher one of this log was.

    Raises `Failed` (``AuditLogDiffers``) unless the log continues what was signed last.
    """
    signed, root = _read(site)
    continued(site, signed, root)
    if size < signed:
        return False
    if size > signed:
        kept = {"size": size, "root": site.log.root(size).hex()}
        write_private(make_private(site.settings.run) / NAME, json.dumps(kept).encode())
    return True


def _read(site: Site) -> tuple[int, bytes]:
    path = site.settings.run / NAME
    try:
        kept = json.loads(path.read_bytes())
        size, root = int(kept["size"]), bytes.fromhex(kept["root"])
    except FileNotFoundError:
        return 0, b""
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(str(path)) from error
    if size <= 0 or len(root) != ROOT_BYTES:
        raise _unreadable(str(path))
    return size, root


def _unreadable(path: str) -> Failed:
    return Failed(
        "AuditLogDiffers",
        f"{path} does not tell which head was signed last",
        found=path,
        hint="bring it back; remove it only if the log continues every head that others hold",
    )
