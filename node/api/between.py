"""What other sites say to this one: every request is signed, and checked before it is read.

    PUT  /sites/v1/mailbox/{job}/{step}/{attempt}/{sender}/{receiver}/{kind}/{n}   a message
    PUT  /sites/v1/jobs/{job}/specification                                        what to run
    POST, DELETE /sites/v1/jobs/{job}/reservation                                  a slot
    POST /sites/v1/jobs/{job}/stop                              a receipt: this site stopped
    GET  /sites/v1/jobs/{job}/evidence                              what our log says of a job
    PUT  /sites/v1/audits/{id}/question                             what a request asks for
    GET  /sites/v1/audits/{id}/pack                                 what answers it
    GET  /sites/v1/reachable                                  whether we reach the one that asks
    GET  /sites/v1/log/checkpoint, /log/entries, /log/proof         the log, for the members
    GET  /sites/v1/log/head, POST /log/cosignatures           the head for witnesses, and their word

Database, chain and keys are used in threads; only streams live on the event loop.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.requests import ClientDisconnect

from chain.audit_questions import MAX_BYTES as MAX_QUESTION_BYTES
from node import audit_requests, heads, partners, stops
from node.addresses import WireAddress
from node.api.attempts import Attempts
from node.api.auth import address_of
from node.api.views.model import IdInPath
from node.audit.entries import type_of
from node.audit.schemas import WORDS
from node.errors import Invalid, TooLarge
from node.reach import look
from node.requests import authenticate, read_body
from node.signatures import VerifiedSender
from node.site import Site

router = APIRouter(prefix="/sites/v1", include_in_schema=False)

MAX_ENTRIES = 256  # of the log in one answer


def install(app: FastAPI) -> None:
    """Add what other sites say to an application, with its limits."""
    app.state.looks = Attempts(limit=12, seconds=60)  # at the endpoint of one site
    app.state.packs = Attempts(limit=60, seconds=60)  # by one site: each may have 64 MiB
    app.state.stop_refusals = Attempts(limit=30, seconds=60)  # of receipts from one address
    app.include_router(router)


async def _sender(request: Request) -> VerifiedSender:
    """Who signed the request; its body has not been read."""
    target = request.scope["raw_path"].decode("latin-1")
    if query := request.scope["query_string"]:
        target += "?" + query.decode("latin-1")
    return await anyio.to_thread.run_sync(
        authenticate, _site(request), request.method, target, request.headers
    )


async def _member(request: Request) -> VerifiedSender | None:
    """A member's site; anybody where the operator opened the explorer."""
    return None if _site(request).settings.explorer_open else await _sender(request)


Sender = Annotated[VerifiedSender, Depends(_sender)]
Member = Annotated[VerifiedSender | None, Depends(_member)]


@router.put("/mailbox/{job}/{step}/{attempt}/{sender_site}/{receiver_site}/{kind}/{n}")
async def put_message(
    request: Request,
    sender: Sender,
    job: str,
    step: str,
    attempt: int,
    sender_site: str,
    receiver_site: str,
    kind: str,
    n: int,
) -> dict[str, Any]:
    """Take a message; the answer is a receipt."""
    address = WireAddress(job, step, attempt, sender_site, receiver_site, kind, n)
    return await _site(request).inbox.receive(sender, address, _body(request))


@router.put("/jobs/{job}/specification")
async def put_specification(request: Request, sender: Sender, job: str) -> Any:
    """Take the specification of a job, if it is the one on the chain."""
    body = await read_body(sender, _body(request))
    return await anyio.to_thread.run_sync(
        partners.receive_specification, _site(request), sender.site, job, body
    )


@router.post("/jobs/{job}/reservation")
async def reserve(request: Request, sender: Sender, job: str) -> Any:
    """Promise a slot for a time."""
    asked = _object(await read_body(sender, _body(request)))
    until = partners.check_until(asked.get("expires"))
    return await anyio.to_thread.run_sync(partners.reserve, _site(request), sender.site, job, until)


@router.delete("/jobs/{job}/reservation", status_code=204)
async def release(request: Request, sender: Sender, job: str) -> Response:
    """Take a promised slot back."""
    await anyio.to_thread.run_sync(partners.release, _site(request), sender.site, job)
    return Response(status_code=204)


@router.post("/jobs/{job}/stop")
async def stop(request: Request, job: str) -> Any:
    """Take a party's receipt of a stop, by its own signature: who was suspended must not send
    messages any more, and still has to say that it stopped.

    Looking a key up costs questions to the chain, and anybody may name one: of one address so many
    receipts are looked at that turn out to be none.
    """
    refusals: Attempts = request.app.state.stop_refusals
    refusals.count(address := address_of(request))
    body = await _read(request, stops.MAX_BYTES)
    kept = await anyio.to_thread.run_sync(stops.receive, _site(request), job, body)
    refusals.give_back(address)
    return kept


@router.get("/jobs/{job}/evidence")
async def evidence(request: Request, sender: Sender, job: str) -> Any:
    """What this site's log says of a job."""
    return await anyio.to_thread.run_sync(partners.evidence, _site(request), sender.site, job)


@router.put("/audits/{id}/question", status_code=204)
async def put_question(request: Request, sender: Sender, id: IdInPath) -> Response:
    """Take the question of a request that the chain has."""
    body = await read_body(sender, _body(request), MAX_QUESTION_BYTES)
    in_thread = anyio.to_thread.run_sync
    await in_thread(audit_requests.receive, _site(request), sender.site, id, body)
    return Response(status_code=204)


@router.get("/audits/{id}/pack")
async def audit_pack(request: Request, sender: Sender, id: IdInPath) -> Response:
    """The file that answers a request, for whoever filed it."""
    packs: Attempts = request.app.state.packs
    packs.count(sender.site)
    in_thread = anyio.to_thread.run_sync
    path = await in_thread(audit_requests.hand_over, _site(request), sender.site, id)
    return FileResponse(path, media_type="application/json")


@router.get("/reachable")
async def reachable(request: Request, sender: Sender) -> dict[str, Any]:
    """Look at the endpoint that the sender has on the chain, so often a minute."""
    looks: Attempts = request.app.state.looks
    looks.count(sender.site)
    return await look(_site(request), sender.site)


@router.get("/log/checkpoint")
async def checkpoint(request: Request, _: Member) -> dict[str, Any]:
    """The signed head of the log, as a C2SP checkpoint and taken apart."""
    site = _site(request)

    def make() -> dict[str, Any]:
        size = site.log.size
        note = site.log.checkpoint(site.identity, site.id, size)
        return {"checkpoint": note, "size": size, "root": "0x" + site.log.root(size).hex()}

    return await anyio.to_thread.run_sync(make)


@router.get("/log/head")
async def head(request: Request, _: Member) -> dict[str, Any]:
    """The head that is shown to witnesses, and what they said of it, as a signed note."""
    return {"note": await anyio.to_thread.run_sync(heads.newest, _site(request))}


@router.post("/log/cosignatures")
async def take_cosignature(request: Request, sender: Sender) -> dict[str, Any]:
    """Take a member's cosignature of a head of ours: {"note": …}."""
    asked = _object(await read_body(sender, _body(request), heads.MAX_BYTES))
    note = asked.get("note")
    if not isinstance(note, str):
        raise Invalid("InvalidRequest", "the body has no note", allowed='{"note": …}')
    kept = await anyio.to_thread.run_sync(heads.receive, _site(request), sender.site, note)
    return {"size": kept}


@router.get("/log/entries")
async def entries(
    request: Request,
    _: Member,
    first: Annotated[int, Query(alias="from", ge=0)] = 0,
    end: Annotated[int | None, Query(alias="to", ge=0)] = None,
) -> dict[str, Any]:
    """Entries [from, to), at most `MAX_ENTRIES`; leaf data is the entry's canonical JSON.

    Fields are hidden, but for the words that members address to each other.
    """
    log, words = _site(request).log, {type_of(kind) for kind in WORDS}

    def read() -> dict[str, Any]:
        size = log.size
        last = min(size, first + MAX_ENTRIES, size if end is None else end)
        found = [
            {
                "index": entry.index,
                "leafHash": "0x" + entry.leaf_hash.hex(),
                "entry": entry.value,
                "disclosed": log.entry(entry.index).disclosed() if entry.type in words else {},
            }
            for entry in log.entries(first, last)
        ]
        return {"size": size, "entries": found}

    return await anyio.to_thread.run_sync(read)


@router.get("/log/proof")
async def proof(
    request: Request,
    _: Member,
    size: Annotated[int, Query(ge=1)],
    index: Annotated[int | None, Query(ge=0)] = None,
    old: Annotated[int | None, Query(ge=1)] = None,
) -> dict[str, Any]:
    """Inclusion of ``index``, or consistency from ``old``, in the log of ``size``."""
    log = _site(request).log
    if (index is None) == (old is None):
        raise Invalid("InvalidRequest", "ask for an index, or for an old size", allowed="index|old")

    def prove() -> list[bytes]:
        if index is not None:
            return log.inclusion_proof(index, size)
        assert old is not None
        return log.consistency_proof(old, size)

    path = await anyio.to_thread.run_sync(prove)
    return {"size": size, "proof": ["0x" + node.hex() for node in path]}


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


async def _body(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise Invalid("InvalidRequest", "the request ended before its body did") from error


async def _read(request: Request, limit: int) -> bytes:
    """The body of a request that nobody signed; raises `TooLarge`."""
    body = bytearray()
    async for chunk in _body(request):
        body += chunk
        if len(body) > limit:
            raise TooLarge(
                "MessageTooLarge", f"the body has more than {limit} bytes", allowed=limit
            )
    return bytes(body)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Invalid("InvalidRequest", "the body is not JSON") from error
    if not isinstance(value, dict):
        raise Invalid("InvalidRequest", "the body is no JSON object")
    return value
