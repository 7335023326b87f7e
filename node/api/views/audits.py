"""Requests for audits: what was asked of sites before the chain, and what they answered.

From this site's rows, so that they are there while the chain is not.  State and digests are
everybody's to read; the question and what came of it only stand here at the two sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session

from chain.audit_questions import read_question
from node.api.pages import Page, from_cursor, to_cursor
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.audit_requests import answer_file, refusal
from node.errors import NotFound
from node.store import AuditQuestion, AuditRequest, ChainState

if TYPE_CHECKING:
    from node.site import Site

State = Literal["OPEN", "SILENT", "ANSWERED", "ANSWERED_LATE"]


class AuditShown(Shown):
    """`question` and `pack` are digests (SHA-256), `until` is block time in Unix seconds, the
    others are blocks.  `auditor` is null where the member's account asked.  `can` names what this
    site may do now: `answer`."""

    id: str
    state: State
    site: Named
    by: Named
    auditor: Named | None
    kind: str
    question: str
    until: int
    block: int
    pack: str | None
    answered_block: int | None
    can: list[Literal["answer"]]


class Failure(Shown):
    """A check that did not hold: a path into the file, and what was found there."""

    where: str
    detail: str


class Verdict(Shown):
    """What the asker's node found of the answer; `shown` counts entries that it shows and hides."""

    ok: bool
    checks: int
    shown: str | None
    failures: list[Failure]
    at: float


class ScopeAsked(Shown):
    """What a question is about: a period in UTC (its end exclusive), a site, a dataset, a job."""

    since: str | None
    until: str | None
    site: Named | None
    dataset: Named | None
    job: str | None


class AuditDetails(AuditShown):
    """With the question and what came of it, for operators and auditors; all null for others, and
    where this site is none of the two sides.

    `given` is whether this site was ever given the question that it is asked, for everybody to
    read; null at other sites than the one that is asked.  `refusal` is that site's signed word why
    it was silent, where it has no question that it could answer; for everybody, too.
    `brought_at` is when the asked site took the question, `problem` what keeps question or answer
    from coming over.  `file` says whether the file that answers is kept here.
    """

    given: bool | None
    refusal: dict[str, Any] | None
    asker: Named | None
    text: str | None
    scope: ScopeAsked | None
    brought_at: float | None
    problem: str | None
    verdict: Verdict | None
    file: bool


AT_THE_TWO_SIDES = ("asker", "text", "scope", "brought_at", "problem", "verdict")
"""What `AuditDetails` has beyond what the chain tells everybody."""


class AuditWaiting(Shown):
    """A request that this site has to answer before `until` (block time)."""

    id: str
    by: Named
    kind: str
    until: int
    question: bool


def page(
    site: Site,
    names: Names,
    *,
    limit: int,
    cursor: str | None = None,
    state: State | None = None,
    asked: str | None = None,
) -> Page[AuditShown]:
    """Newest first; `asked` is the site that was asked.  Raises `Invalid` for a bad cursor."""
    with site.store.read() as session:
        now = _block_time(session)
        query = _in_state(select(AuditRequest), state, now)
        query = query.order_by(AuditRequest.block.desc(), AuditRequest.id)
        if asked is not None:
            query = query.where(AuditRequest.site == asked)
        if (position := from_cursor(cursor, int, str)) is not None:
            # Newest block first, ids within a block in their order.
            behind = tuple_(-AuditRequest.block, AuditRequest.id)
            query = query.where(behind > (-int(position[0]), position[1]))
        rows = list(session.scalars(query.limit(limit + 1)))
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=[AuditShown(**_facts(site, names, row, now)) for row in rows[:limit]],
        next=None if last is None else to_cursor(last.block, last.id),
    )


def show(site: Site, names: Names, id: str) -> AuditDetails:
    """Raises `NotFound`."""
    with site.store.read() as session:
        row, asked = session.get(AuditRequest, id), session.get(AuditQuestion, id)
        now = _block_time(session)
    if row is None:
        raise NotFound("NotFound", "no confirmed block has this request for an audit", found=id)
    given = None if row.site != site.settings.site_id else asked is not None
    is_silent = row.pack is None and state_of(row, now) == "SILENT"
    word = refusal(site, row) if given is False and is_silent else None
    facts = {**_facts(site, names, row, now), "given": given, "refusal": word}
    if asked is None:
        nothing: dict[str, Any] = dict.fromkeys(AT_THE_TWO_SIDES)
        return AuditDetails(**facts, **nothing, file=False)
    question = read_question(asked.content.encode())
    scope = question.scope
    return AuditDetails(
        **facts,
        asker=names.site(asked.asker),
        text=question.text,
        scope=ScopeAsked(
            since=scope["from"],
            until=scope["until"],
            site=None if scope["site"] is None else names.site(scope["site"]),
            dataset=None if scope["dataset"] is None else names.dataset(scope["dataset"]),
            job=scope["job"],
        ),
        brought_at=asked.brought_at,
        problem=asked.problem or None,
        verdict=_verdict(asked),
        file=_has_file(site, row),
    )


def for_everybody(shown: AuditDetails) -> AuditDetails:
    """What everybody may read of it, who is no operator and no auditor."""
    return shown.model_copy(update={**dict.fromkeys(AT_THE_TWO_SIDES), "file": False})


def waiting(site: Site, names: Names) -> list[AuditWaiting]:
    """What this site was asked and has not answered, by deadline: an answer ends silence, too."""
    with site.store.read() as session:
        rows = unanswered(session, site.settings.site_id)
        here = {row.id for row in rows if session.get(AuditQuestion, row.id) is not None}
    return [
        AuditWaiting(
            id=row.id,
            by=names.member(row.by),
            kind=row.kind,
            until=row.until,
            question=row.id in here,
        )
        for row in rows
    ]


def unanswered(session: Session, site_id: str | None) -> list[AuditRequest]:
    query = select(AuditRequest).where(AuditRequest.site == site_id, AuditRequest.pack.is_(None))
    return list(session.scalars(query.order_by(AuditRequest.until, AuditRequest.id)))


def _facts(site: Site, names: Names, row: AuditRequest, now: int) -> dict[str, Any]:
    can = ["answer"] if row.site == site.settings.site_id and row.pack is None else []
    return {
        "id": row.id,
        "state": state_of(row, now),
        "site": names.site(row.site),
        "by": names.member(row.by),
        "auditor": None if row.auditor is None else names.site(row.auditor),
        "kind": row.kind,
        "question": row.digest,
        "until": row.until,
        "block": row.block,
        "pack": row.pack,
        "answered_block": row.answered_block,
        "can": can,
    }


def state_of(row: AuditRequest, now: int) -> State:
    """As the contract derives it, at a block time."""
    if row.pack is not None:
        return "ANSWERED_LATE" if row.is_late else "ANSWERED"
    return "OPEN" if now < row.until else "SILENT"


def _in_state(query: Select[AuditRequest], state: State | None, now: int) -> Select[AuditRequest]:
    if state in ("ANSWERED", "ANSWERED_LATE"):
        late = AuditRequest.is_late.is_(state == "ANSWERED_LATE")
        return query.where(AuditRequest.pack.is_not(None), late)
    if state is not None:
        over = AuditRequest.until <= now if state == "SILENT" else AuditRequest.until > now
        return query.where(AuditRequest.pack.is_(None), over)
    return query


def _block_time(session: Session) -> int:
    state = session.get(ChainState, 1)
    return 0 if state is None else int(state.head_time)


def _verdict(asked: AuditQuestion) -> Verdict | None:
    if asked.report is None or asked.checked_at is None:
        return None
    told = {name: asked.report[name] for name in ("ok", "checks", "shown")}
    failures = [Failure(**each) for each in asked.report["failures"]]
    return Verdict(**told, failures=failures, at=asked.checked_at)


def _has_file(site: Site, row: AuditRequest) -> bool:
    try:
        answer_file(site, row)
    except NotFound:
        return False
    return True
