"""The data-use statements that were made by themselves when their months were over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from chain import canonical
from node.api.views.model import Shown
from node.monthly import kept_files

if TYPE_CHECKING:
    from node.site import Site


class StatementShown(Shown):
    """What a kept statement sums up; `digest` is SHA-256 of the file, `issued` when it was made."""

    month: str
    digest: str
    issued: str
    uses: int
    jobs: int
    grantees: int
    revoked: int


def every(site: Site) -> list[StatementShown]:
    """The newest month first."""
    found = []
    for file in kept_files(site):
        content = file.read_bytes()
        told = json.loads(content)
        found.append(
            StatementShown(
                month=file.stem,
                digest=canonical.digest(content),
                issued=told["issued"]["at"],
                **told["totals"],
            )
        )
    return found
