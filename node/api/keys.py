"""/v1/keys: this site's keys on the chain, their rotation, and their end."""

from __future__ import annotations

from typing import Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field

from node import rotation
from node.api.accepted import Accepted, Wait, accepted
from node.api.operator import OperatorRoute
from node.api.views.model import Asked, IdInPath, Shown
from node.identity import PURPOSES
from node.site import Site
from node.store import KeyRotation
from node.submission import Submitted

router = APIRouter(prefix="/keys", tags=["site"], route_class=OperatorRoute)


class RotationShown(Shown):
    """Times are Unix seconds.  `state` as node/rotation.py tells it."""

    purpose: str
    state: Literal["ADDING", "OVERLAP", "ENDING", "ENDED", "ABANDONED"]
    key: str
    old_key: str
    created_at: float
    switched_at: float | None
    ended_at: float | None
    reason: str | None


class KeyShown(Shown):
    """Valid in blocks [from_block, until_block), 0: it stands.

    `signs`: this site signs with it now.  `proven`: whoever registered it holds it.
    """

    id: str
    purpose: str
    public_key: str
    from_block: int
    until_block: int
    signs: bool
    proven: bool
    rotation: RotationShown | None


class NewRotation(Asked):
    purpose: Literal["request", "audit", "anchor"]
    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra={"examples": [{"purpose": "request"}]}
    )


class Revocation(Asked):
    force: bool = Field(
        False, description="Also the key that the site signs with: its work stops at once."
    )


@router.get("", summary="This site's keys, oldest first")
def list_keys(request: Request) -> list[KeyShown]:
    site: Site = request.app.state.site
    identity, network = site.identity, site.network()
    signing = {site.key_id(purpose, identity) for purpose in PURPOSES}
    follows = {row.key_id: row for row in reversed(rotation.rotations(site))}
    return [
        KeyShown(
            id=key.id,
            purpose=key.purpose,
            public_key=key.public_key,
            from_block=key.from_block,
            until_block=key.until_block,
            signs=key.id in signing,
            proven=network.sites.proves(site.id, key),
            rotation=_shown(follows[key.id]) if key.id in follows else None,
        )
        for key in network.sites.keys(site.id)
    ]


@router.get("/rotations", summary="Rotations, newest first")
def list_rotations(request: Request) -> list[RotationShown]:
    return [_shown(row) for row in rotation.rotations(request.app.state.site)]


@router.post("/rotations", status_code=202, summary="Put a new key in the place of one")
async def rotate(
    request: Request, response: Response, body: NewRotation, wait: Wait = 0
) -> Accepted:
    """`id` of the answer is the new key's; the site signs with it when partners take it."""
    submitted = await run_sync(rotation.rotate, request.app.state.site, body.purpose)
    return await accepted(request, response, submitted, wait)


@router.post("/{id}/revoke", status_code=202, summary="End a key at once")
async def revoke(
    request: Request, response: Response, id: IdInPath, body: Revocation, wait: Wait = 0
) -> Accepted:
    def end() -> Submitted:
        return rotation.revoke(request.app.state.site, id, force=body.force)

    return await accepted(request, response, await run_sync(end), wait)


def _shown(row: KeyRotation) -> RotationShown:
    return RotationShown.model_validate(
        {
            "purpose": row.purpose,
            "state": row.state,
            "key": row.key_id,
            "old_key": row.old_key_id,
            "created_at": row.created_at,
            "switched_at": row.switched_at,
            "ended_at": row.ended_at,
            "reason": row.reason,
        }
    )
