"""The log as C2SP tlog-tiles: a signed head, hashes and entries, to be read as if they were files.

    GET /log/checkpoint                        the newest head shown, with cosignatures
    GET /log/tile/<level>/<N>[.p/<W>]          hashes, 32 bytes each, 256 or W of them
    GET /log/tile/entries/<N>[.p/<W>]          entries, each after its length in two bytes

Whoever has the site's audit key needs nothing else of the node: root and proofs are computed from
tiles.  Hashes tell nothing of what was hashed; who may read entries is a setting.
Source: https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from node import heads
from node.api.auth import actor_of
from node.api.evidence import enter_reading
from node.audit.tiles import WIDTH
from node.errors import NodeError, NotFound, Refused, Unauthenticated
from node.requests import authenticate
from node.signatures import VerifiedSender
from node.site import Site

router = APIRouter(include_in_schema=False)

FOR_EVER = "public, max-age=31536000, immutable"
_PLACE = re.compile(
    r"(entries|[0-9]|[1-5][0-9]|6[0-3])"
    r"/((?:x[0-9]{3}/){0,4}[0-9]{3})"
    r"(?:\.p/([1-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?"
)


@dataclass(frozen=True)
class Place:
    """Which tile: ``level`` is None for entries."""

    level: int | None
    number: int
    width: int

    @classmethod
    def parse(cls, path: str) -> Place | None:
        """``0/x001/234.p/7``: None for what is no tile's path, or not in its one form."""
        found = _PLACE.fullmatch(path)
        if found is None or found[2].startswith("x000"):
            return None
        level = None if found[1] == "entries" else int(found[1])
        number = int(found[2].replace("x", "").replace("/", ""))
        return cls(level, number, int(found[3] or WIDTH))


@router.get("/log/checkpoint")
def checkpoint(request: Request) -> Response:
    """The newest head that is shown to witnesses, with what they said of it."""
    site = _site(request)
    admit_to_hashes(request, site)
    return Response(
        heads.newest(site),
        media_type="text/plain; charset=utf-8",
        headers={"Cache-Control": "no-cache"},
    )


@router.get("/log/tile/{place:path}")
def tile(request: Request, place: str) -> Response:
    """Hashes or entries; only those that stand, of a path in its one form."""
    asked = Place.parse(place)
    raw: bytes = request.scope.get("raw_path", b"")
    if asked is None or not raw.endswith(f"/log/tile/{place}".encode()):
        raise no_tile()
    site = _site(request)
    # What not everybody may read is in no cache that outlives a sign-out.
    headers = {"Cache-Control": FOR_EVER if _is_open(site, asked) else "no-store"}
    if asked.level is not None:
        admit_to_hashes(request, site)
        content = site.log.tile(asked.level, asked.number, asked.width)
    else:
        admit_to_entries(request, site)
        content = site.log.bundle(asked.number, asked.width)
        headers["Vary"] = "Accept-Encoding"
    if content is None:
        raise no_tile()
    if asked.level is None and _takes_gzip(request):
        content = gzip.compress(content, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type="application/octet-stream", headers=headers)


# ── Who may read ─────────────────────────────────────────────────────────────────────────────


def _is_open(site: Site, place: Place) -> bool:
    settings = site.settings
    setting = settings.log_entries if place.level is None else settings.log_hashes
    return settings.explorer_open or setting == "open"


def admit_to_hashes(request: Request, site: Site) -> None:
    """Anybody, or members' sites and whoever is signed in."""
    if site.settings.explorer_open or site.settings.log_hashes == "open":
        return
    if _signed(request, site) is None and actor_of(request) is None:
        raise _nobody("a member's site, or somebody who is signed in")


def admit_to_entries(request: Request, site: Site) -> None:
    """Operators and auditors, and members' sites; anybody where this site opened its log."""
    if not (site.settings.explorer_open or site.settings.log_entries == "open"):
        admit_to_entries_of_others(request, site)


def admit_to_entries_of_others(request: Request, site: Site) -> None:
    """The same, whatever this site says of its own: theirs are not its to open."""
    if _signed(request, site) is not None:
        return
    actor = actor_of(request)
    if actor is None:
        raise _nobody("an operator, an auditor, or a site with a signed request")
    if not actor.may("operator", "auditor"):
        raise Refused(
            "RoleMissing",
            "the entries of the log are for operators and auditors",
            found=sorted(actor.roles),
            allowed=["operator", "auditor"],
        )
    enter_reading(request)


def _signed(request: Request, site: Site) -> VerifiedSender | None:
    if "signature" not in request.headers:
        return None
    target = request.scope["raw_path"].decode("latin-1")
    if query := request.scope["query_string"]:
        target += "?" + query.decode("latin-1")
    return authenticate(site, request.method, target, request.headers)


# ── Answers ──────────────────────────────────────────────────────────────────────────────────


def _takes_gzip(request: Request) -> bool:
    for offered in request.headers.get("accept-encoding", "").split(","):
        name, _, weight = offered.replace(" ", "").lower().partition(";")
        if name == "gzip":
            return not re.fullmatch(r"q=0(\.0*)?", weight)
    return False


def no_tile() -> NodeError:
    return NotFound(
        "NotFound",
        "the log has no such tile",
        hint="read /log/checkpoint first; tiles are named as c2sp.org/tlog-tiles says",
    )


def _nobody(who: str) -> NodeError:
    return Unauthenticated("Unauthenticated", "this part of the log is not open", allowed=who)


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site
