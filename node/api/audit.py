"""/v1/audit: the site's log with its proofs."""

from __future__ import annotations

from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from node.api.auth import require
from node.api.evidence import EVIDENCE
from node.api.operator import OperatorRoute
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import entries
from node.api.views.entries import CheckpointShown, EntryShown, EntryWithProof
from node.api.views.model import Asked, Shown
from node.audit import erasure, json_schema
from node.audit.payloads import MAX_SCOPE
from node.audit.schemas import EVENTS

router = APIRouter(
    prefix="/audit", tags=["evidence"], route_class=OperatorRoute, dependencies=[EVIDENCE]
)

TIME = r"^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?Z?)?$"
Index = Annotated[int, Path(ge=0, lt=2**53)]
Type = Annotated[
    str | None,
    Query(
        max_length=60,
        description="A type, or the beginning of some that ends in a dot.",
        examples=["fatechain.message."],
    ),
]
Time = Annotated[str | None, Query(pattern=TIME, description="RFC 3339 in UTC, or a beginning.")]


@router.get("/entries", summary="Entries of the log, newest first")
def list_entries(
    request: Request,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    type: Type = None,
    subject: Annotated[str | None, Query(max_length=80)] = None,
    since: Time = None,
    until: Time = None,
) -> Page[EntryShown]:
    with request.app.state.site.store.read() as session:
        return entries.page(
            session,
            limit=limit,
            cursor=cursor,
            type=type,
            subject=subject,
            since=since,
            until=until,
        )


@router.get("/entries/{index}", summary="One entry with its inclusion proof")
def show_entry(
    request: Request,
    index: Index,
    size: Annotated[int | None, Query(ge=1, lt=2**53, description="Prove under this head.")] = None,
) -> EntryWithProof:
    return entries.show(request.app.state.site, index, size)


class NewErasure(Asked):
    """The reason stands in the receipt for good. Name no person."""

    scope: str = Field(
        min_length=1, max_length=MAX_SCOPE, description="A job, a dataset or another id."
    )
    reason: str = Field(min_length=1, max_length=erasure.MAX_REASON)


class ErasedShown(Shown):
    """`journal_cut`: the database's journal has forgotten, too; else a restart makes it forget."""

    receipt: dict[str, Any]
    journal_cut: bool


@router.post(
    "/erasures",
    status_code=201,
    summary="Erase what entries of a scope tell; they stand and prove as before",
    dependencies=[Depends(require("operator"))],
)
async def erase(request: Request, body: NewErasure) -> ErasedShown:
    found = await run_sync(erasure.erase, request.app.state.site, body.scope, body.reason)
    return ErasedShown(receipt=found.receipt, journal_cut=found.journal_cut)


@router.get("/erasures", summary="Signed receipts of erasures, oldest first")
def list_erasures(
    request: Request, scope: Annotated[str | None, Query(max_length=MAX_SCOPE)] = None
) -> Page[dict[str, Any]]:
    with request.app.state.site.store.read() as session:
        return Page(items=erasure.receipts(session, scope), next=None)


class SchemaNamed(Shown):
    """`urn` is what entries of the kind have as their `dataschema`."""

    kind: str
    urn: str
    title: str


@router.get("/schemas", summary="Kinds of entries, and the URN of each one's schema")
def list_schemas() -> Page[SchemaNamed]:
    found = ((kind, json_schema.schema(kind)) for kind in EVENTS)
    named = [SchemaNamed(kind=kind, urn=one["$id"], title=one["title"]) for kind, one in found]
    return Page(items=named, next=None)


@router.get("/schemas/{kind}", summary="JSON Schema of what entries of a kind disclose")
def show_schema(kind: Annotated[str, Path(max_length=80, examples=["message.sent"])]) -> Response:
    return JSONResponse(json_schema.schema(kind), media_type="application/schema+json")


@router.get("/checkpoint", summary="The newest head of the log, signed")
def show_checkpoint(request: Request) -> CheckpointShown:
    return entries.checkpoint(request.app.state.site)
