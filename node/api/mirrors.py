"""Copies of other sites' logs, to be read from here when their own node is dead or lies.

    GET /mirror/<site>/checkpoint                   the head of the copy, as its log signed it
    GET /mirror/<site>/tile/<level>/<N>[.p/<W>]     hashes
    GET /mirror/<site>/tile/entries/<N>[.p/<W>]     entries, as far as they were shown to us
    GET /v1/mirrors                                 how far each copy is, and how it fared

Hashes are for whom those of this node's own log are; entries for operators, auditors and members'
sites alone, since another site's are not this one's to open.  What is served was verified when it
was copied; whoever reads it verifies it again, with the key that the site has on the chain.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from node.api.evidence import EVIDENCE
from node.api.operator import OperatorRoute
from node.api.tiles import Place, admit_to_entries_of_others, admit_to_hashes, no_tile
from node.api.views import mirrors as view
from node.api.views.mirrors import MirrorShown
from node.api.views.model import IdInPath
from node.errors import NodeError, NotFound
from node.mirror import Mirror
from node.site import Site

router = APIRouter(
    prefix="/mirrors", tags=["evidence"], route_class=OperatorRoute, dependencies=[EVIDENCE]
)
public = APIRouter(prefix="/mirror", include_in_schema=False)


@router.get("", summary="Copies of other sites' logs: how far they are, and how they fared")
def list_mirrors(request: Request) -> list[MirrorShown]:
    return view.every(request.app.state.site, request.app.state.names)


@public.get("/{site_id}/checkpoint")
def checkpoint(request: Request, site_id: IdInPath) -> Response:
    """The newest head that the copied tiles make."""
    site: Site = request.app.state.site
    admit_to_hashes(request, site)
    note = Mirror(site, site_id).note()
    if note is None:
        raise _no_copy(site_id)
    headers = {"Cache-Control": "no-cache"}
    return Response(note, media_type="text/plain; charset=utf-8", headers=headers)


@public.get("/{site_id}/tile/{place:path}")
def tile(request: Request, site_id: IdInPath, place: str) -> Response:
    """Hashes or entries under that head, of a path in its one form."""
    asked = Place.parse(place)
    raw: bytes = request.scope.get("raw_path", b"")
    if asked is None or not raw.endswith(f"/mirror/{site_id}/tile/{place}".encode()):
        raise no_tile()
    site: Site = request.app.state.site
    admit = admit_to_entries_of_others if asked.level is None else admit_to_hashes
    admit(request, site)
    mirror = Mirror(site, site_id)
    # What lies beyond the head was copied, and not yet found to make a head.
    if asked.number * 256 + asked.width > mirror.head().size >> 8 * (asked.level or 0):
        raise no_tile()
    content = mirror.read(asked.level, asked.number, asked.width)
    return Response(
        content,
        media_type="application/octet-stream",
        headers={"Cache-Control": "no-store"},
    )


def _no_copy(site_id: str) -> NodeError:
    return NotFound(
        "NotFound",
        "this node has no copy of that log",
        found=site_id,
        hint="GET /v1/mirrors lists the copies that it has",
    )
