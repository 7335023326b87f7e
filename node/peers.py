"""Requests to the other sites: signed, limited, and answered by values or typed errors.

A partner's problem document comes back as the `NodeError` it was there, with the partner named;
a partner that does not answer is `Unavailable` (``PartnerUnreachable``).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx

from chain import canonical
from node.addresses import WireAddress
from node.answers import AS_IT_IS, is_packed
from node.audit.checkpoint import Checkpoint, open_checkpoint
from node.errors import (
    Conflict,
    Failed,
    Invalid,
    NodeError,
    NotFound,
    Refused,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from node.receipts import verify_receipt
from node.signatures import EMPTY_DIGEST, sign

if TYPE_CHECKING:
    from node.site import Site

CHUNK_BYTES = 1024 * 1024
MAX_ANSWER_BYTES = 64 * 1024
MAX_PACK_BYTES = 64 * 1024 * 1024  # of `chain.pack`, which is imported only where packs are read
MAX_EVIDENCE_BYTES = 64 * 1024 * 1024
MAX_TOLD = 500  # characters of a partner's words that we repeat
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
ASK_SECONDS = 120.0  # for a whole question: a partner that answers byte by byte holds up nothing
JSON = "application/json"

BY_STATUS: dict[int, type[NodeError]] = {
    kind.status: kind
    for kind in (Unauthenticated, Refused, NotFound, Conflict, TooLarge, Invalid, Unavailable)
}


class Peers:
    """The other sites of the consortium, as this one speaks to them.

    All of it is to be awaited; a connection lives as long as the request.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    # ── Messages ─────────────────────────────────────────────────────────────────────────────

    async def put_message(
        self,
        client: httpx.AsyncClient,
        address: WireAddress,
        body: bytes | Path,
        digest: str,
        size: int,
    ) -> dict[str, Any]:
        """Put a body, or the content of a file, into the receiver's mailbox; return its receipt.

        One try.  Raises `Failed` (``ReceiptInvalid``) for a receipt that does not hold.
        """
        in_thread = anyio.to_thread.run_sync
        endpoint = await in_thread(self._site.directory.endpoint, address.receiver)
        content = body if isinstance(body, bytes) else _chunks(body)
        request = client.build_request(
            "PUT",
            f"{endpoint}{address.path}",
            content=content,
            headers={"Content-Length": str(size)},
        )
        await in_thread(self._sign, request, digest, size)
        response, answer = await _exchange(
            client, request, address.receiver, endpoint, MAX_ANSWER_BYTES
        )
        receipt = _answer(address.receiver, response, answer)
        await in_thread(verify_receipt, receipt, address, digest, size, self._site.directory)
        found: dict[str, Any] = receipt
        return found

    # ── Jobs ─────────────────────────────────────────────────────────────────────────────────

    async def put_specification(self, site_id: str, job_id: str, specification: bytes) -> None:
        """Hand over the canonical specification; raises ``SpecificationMismatch``, …"""
        await self._ask("PUT", site_id, f"/sites/v1/jobs/{job_id}/specification", specification)

    async def reserve(self, site_id: str, job_id: str, attempt: int, expires: float) -> None:
        """Ask for a slot until ``expires`` (UTC seconds); raises `Conflict` (``SlotsTaken``)."""
        body = canonical.dumps({"attempt": attempt, "expires": int(expires)})
        await self._ask("POST", site_id, f"/sites/v1/jobs/{job_id}/reservation", body)

    async def release(self, site_id: str, job_id: str) -> None:
        """Give the slot back; giving it back twice is giving it back once."""
        await self._ask("DELETE", site_id, f"/sites/v1/jobs/{job_id}/reservation")

    async def put_stop(self, site_id: str, job_id: str, receipt: dict[str, Any]) -> None:
        """Hand over our receipt of a stop; giving it twice is giving it once."""
        body = canonical.dumps(receipt)
        await self._ask("POST", site_id, f"/sites/v1/jobs/{job_id}/stop", body)

    async def evidence(self, site_id: str, job_id: str) -> dict[str, Any]:
        """What the site's log says of a job, with proofs; the caller verifies it."""
        path = f"/sites/v1/jobs/{job_id}/evidence"
        found = await self._ask("GET", site_id, path, limit=MAX_EVIDENCE_BYTES)
        if not isinstance(found, dict):
            raise Failed(
                "PartnerFailed", f"site {site_id} sent no evidence", found=str(type(found))
            )
        return found

    # ── Audits ───────────────────────────────────────────────────────────────────────────────

    async def put_question(self, site_id: str, request_id: str, question: bytes) -> None:
        """Hand over the question of a request; giving it twice is giving it once."""
        await self._ask("PUT", site_id, f"/sites/v1/audits/{request_id}/question", question)

    async def audit_pack(self, site_id: str, request_id: str) -> bytes:
        """The file that the site gives as its answer; the caller verifies it."""
        path = f"/sites/v1/audits/{request_id}/pack"
        response, answer = await self._send("GET", site_id, path, limit=MAX_PACK_BYTES)
        if not response.is_success:
            _answer(site_id, response, answer)
        return answer

    # ── The way between us ───────────────────────────────────────────────────────────────────

    async def reachable(self, site_id: str) -> dict[str, Any]:
        """What the site sees at our endpoint: {"reachable", "detail", "time"}, its word."""
        found = await self._ask("GET", site_id, "/sites/v1/reachable")
        if not isinstance(found, dict):
            raise Failed("PartnerFailed", f"site {site_id} did not say what it sees")
        return found

    # ── The log ──────────────────────────────────────────────────────────────────────────────

    async def checkpoint(self, site_id: str) -> Checkpoint:
        """The newest head of the site's log, signed with an audit key that it has on the chain.

        What the answer says beside the note is not read.  Raises `Failed` (``CheckpointInvalid``).
        """
        found = await self._ask("GET", site_id, "/sites/v1/log/checkpoint")
        note = str(found.get("checkpoint")) if isinstance(found, dict) else ""
        keys = await anyio.to_thread.run_sync(self._site.directory.audit_keys, site_id)
        refusal: NodeError | None = None
        for key in keys:  # two, while one follows another
            try:
                return open_checkpoint(note, site_id, key)
            except NodeError as reason:
                refusal = reason
        raise Failed(
            "CheckpointInvalid",
            f"site {site_id} showed a head of its log that none of its audit keys signed",
            found=str(refusal or "it has no audit key on the chain"),
            allowed=["0x" + key.hex() for key in keys],
            hint="keep what it showed, and hold its log against what it anchored",
        ) from refusal

    async def head(self, site_id: str) -> str:
        """The head that the site shows to witnesses: a note, which the caller verifies."""
        found = await self._ask("GET", site_id, "/sites/v1/log/head")
        note = found.get("note") if isinstance(found, dict) else None
        if not isinstance(note, str):
            raise Failed("PartnerFailed", f"site {site_id} showed no head of its log")
        return note

    async def consistency(self, site_id: str, old: int, new: int) -> list[bytes]:
        """What the site gives as proof that its log of ``new`` begins with that of ``old``."""
        found = await self._ask("GET", site_id, f"/sites/v1/log/proof?size={new}&old={old}")
        try:
            return [bytes.fromhex(node.removeprefix("0x")) for node in found["proof"]]
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise Failed("PartnerFailed", f"site {site_id} sent no proof") from error

    async def tile(self, site_id: str, path: str, limit: int) -> bytes:
        """A tile of the site's log, of at most ``limit`` bytes; the caller verifies it."""
        response, answer = await self._send("GET", site_id, f"/log/{path}", limit=limit)
        if not response.is_success:
            _answer(site_id, response, answer)
        return answer

    async def give_cosignature(self, site_id: str, note: str) -> None:
        """Bring our cosignature of a head to the site whose head it is."""
        body = canonical.dumps({"note": note})
        await self._ask("POST", site_id, "/sites/v1/log/cosignatures", body)

    # ── How ──────────────────────────────────────────────────────────────────────────────────

    async def _ask(
        self,
        method: str,
        site_id: str,
        path: str,
        body: bytes = b"",
        *,
        limit: int = MAX_ANSWER_BYTES,
    ) -> Any:
        response, answer = await self._send(method, site_id, path, body, limit=limit)
        return _answer(site_id, response, answer)

    async def _send(
        self, method: str, site_id: str, path: str, body: bytes = b"", *, limit: int
    ) -> tuple[httpx.Response, bytes]:
        in_thread = anyio.to_thread.run_sync
        endpoint = await in_thread(self._site.directory.endpoint, site_id)
        digest = canonical.digest(body) if body else EMPTY_DIGEST
        async with site_client() as client:
            request = client.build_request(
                method, f"{endpoint}{path}", content=body, headers={"Content-Type": JSON}
            )
            await in_thread(self._sign, request, digest, len(body))
            with anyio.move_on_after(ASK_SECONDS):
                return await _exchange(client, request, site_id, endpoint, limit)
        raise Unavailable(
            "PartnerUnreachable",
            f"site {site_id} did not answer within {ASK_SECONDS:g} s",
            found=site_id,
            allowed=ASK_SECONDS,
        )

    def _sign(self, request: httpx.Request, digest: str, size: int) -> None:
        site = self._site
        identity = site.identity
        sign(request, identity, site.id, site.key_id(identity=identity), digest, size)


def site_client() -> httpx.AsyncClient:
    """A client to other sites: no redirects, no proxy from the environment."""
    return httpx.AsyncClient(
        timeout=TIMEOUT,
        follow_redirects=False,
        trust_env=False,
        verify=_trusted(),
        headers=AS_IT_IS,
    )


@cache
def _trusted() -> ssl.SSLContext:
    # Reading the authorities takes longer than a whole request on loopback: once a process.
    return ssl.create_default_context()


async def _exchange(
    client: httpx.AsyncClient, request: httpx.Request, site_id: str, endpoint: str, limit: int
) -> tuple[httpx.Response, bytes]:
    """Send the request; the answer and its body of at most ``limit`` bytes."""
    answer = bytearray()
    try:
        response = await client.send(request, stream=True)
        try:
            if is_packed(response):
                raise Failed(
                    "PartnerFailed", f"site {site_id} answered packed, which nobody asked for"
                )
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > limit:
                    raise Failed(
                        "PartnerFailed",
                        f"site {site_id} answered with more than {limit} bytes",
                        allowed=limit,
                    )
        finally:
            await response.aclose()
    except httpx.RequestError as error:
        raise Unavailable(
            "PartnerUnreachable",
            f"site {site_id} does not answer at {endpoint}: {type(error).__name__}",
            found=site_id,
            hint="ask that site whether its node runs and its endpoint on the chain is right",
        ) from error
    return response, bytes(answer)


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(CHUNK_BYTES):
            yield chunk


def _answer(site_id: str, response: httpx.Response, body: bytes) -> Any:
    """The answer's JSON, None for an empty one; a problem is raised."""
    try:
        value = json.loads(body) if body else None
    except (ValueError, RecursionError) as error:
        raise Failed(
            "PartnerFailed",
            f"site {site_id} answered {response.status_code} with something that is not JSON",
            found=response.status_code,
        ) from error
    if response.is_success:
        return value
    raise _problem(site_id, response.status_code, value)


def _problem(site_id: str, status: int, value: Any) -> NodeError:
    told = value if isinstance(value, dict) else {}
    code = told.get("code")
    if not (isinstance(code, str) and code.isascii() and code.isalnum() and len(code) <= 60):
        code = "PartnerFailed"
    kind = BY_STATUS.get(status, Unavailable if status in (429, 502, 504) else Failed)
    detail = _plain(str(told.get("detail", f"answered {status}")))
    hint = told.get("hint")
    return kind(
        code,
        f"site {site_id}: {detail}",
        found=_short(told.get("found")),
        allowed=_short(told.get("allowed")),
        hint=_plain(hint) if isinstance(hint, str) else None,
    )


def _short(value: Any) -> Any:
    """Numbers and lists as they are if they are short, everything else as text."""
    if len(str(value)) <= MAX_TOLD:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, list):
            return [_short(each) for each in value]
    return _plain(str(value))


def _plain(text: str) -> str:
    """What any database takes: JSON may hold half characters, and the character 0."""
    return text[:MAX_TOLD].encode("utf-8", "replace").decode().replace("\0", " ")
