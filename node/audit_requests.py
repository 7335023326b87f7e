"""The right to audit, as this site uses it and answers it: asked, brought, answered, handed over.

    ask        the question's digest goes on the chain; `node.auditing` brings the question
    receive    the asked site takes the question of a request that the chain has
    answer     a pack is made for the question, and its digest goes on the chain
    hand_over  whoever asked fetches the pack, and the log says so
    keep       what the asker found of it, once

Question and pack are files that only the two sides have; request, deadline, digests and silence are
everybody's to read.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from chain import canonical
from chain.audit_questions import Question, moment_of, read_question, require_asked, write_question
from chain.audit_requests import audit_request_id
from chain.canonical import digest as digest_of
from chain.errors import VerificationFailed
from chain.ids import new_nonce
from node import alerts
from node.audit.entries import now, record, type_of
from node.errors import Conflict, Invalid, NotFound, Refused, TooLarge, Unavailable
from node.files import keep_private, make_private
from node.ledger import read_ledger
from node.packs import Wanted, moment_text, pack, require_fits, require_known
from node.refusals import chain_errors
from node.registration import nonce_of
from node.store import Anchor, AuditEntry, AuditPending, AuditQuestion, AuditRequest
from node.submission import Submitted, is_open, rehearse, submit

if TYPE_CHECKING:
    from chain.network import Network
    from chain.standalone import Report
    from node.site import Site

MAX_FAILURES = 10  # of a report that are kept
MAX_DETAIL = 400
DIGEST_CHECK = "digest"  # of `chain.audit_questions`: another file may still be the right one
UNCHECKED = "cannot be checked"  # begins the detail where the chain fell silent, for one


@dataclass(frozen=True)
class Asked:
    """Of ``site``, by id or unique name: evidence of a period, about a site, a dataset or a job."""

    site: str
    text: str
    since: datetime | None = None
    until: datetime | None = None
    about: str | None = None
    dataset: str | None = None
    job: str | None = None


# ── Who asks


def ask(
    site: Site, asked: Asked, *, key: str | None = None, clock: Callable[[], float] = time.time
) -> Submitted:
    """File a request against another member's site; its question follows once the chain has it.

    Raises `Refused` (``WrongRole``) unless this account is an active member's or operates a site
    with the auditor's role, `Invalid` for a question that is none, `NotFound`, and `Conflict` where
    eight are pending.
    """
    if asked.until is not None and asked.until.timestamp() > clock():
        raise Invalid(
            "InvalidRequest",
            "a period that is not over yet has no end: leave the end out",
            found=moment_text(asked.until),
        )
    with site.store.read() as session:
        ledger = read_ledger(session)
    wanted = Wanted(asked.since, asked.until, asked.about, asked.dataset, asked.job)
    require_known(wanted, ledger)
    with chain_errors():
        network = site.network()
        nonce = new_nonce() if key is None else nonce_of(key)
        chain_id, requests = network.client.chain_id, network.auditrequests
        id = audit_request_id(chain_id, requests.address, site.identity.address, nonce)
        submitted = Submitted(id, f"audit.file:{id}")
        if is_open(site, submitted.intent):
            return submitted
        question = _written(site, network, asked)
        call = requests.file(question.site, question.kind, question.digest, nonce)
        rehearse(site, call)
    row = AuditQuestion(id=id, asker=site.id, content=question.content.decode())
    facts = {"site": question.site, "askedFor": question.kind, "question": question.digest}
    return submit(site, submitted, call, "audit.filed", facts, row)


def _written(site: Site, network: Network, asked: Asked) -> Question:
    scope = {
        "from": moment_text(asked.since),
        "until": moment_text(asked.until),
        "site": asked.about,
        "dataset": asked.dataset,
        "job": asked.job,
    }
    try:
        return write_question(
            network,
            site=site_id_of(network, asked.site),
            asker=site.id,
            scope=scope,
            text=asked.text,
            nonce="0x" + secrets.token_hex(32),
        )
    except VerificationFailed as failure:
        raise Invalid(
            "QuestionInvalid", str(failure), found=str(failure.found), allowed=failure.expected
        ) from failure


def site_id_of(network: Network, named: str) -> str:
    """The site that an id or a unique name means.  Raises `NotFound`."""
    if named.startswith("0x"):
        return named
    found = [id for id in network.sites.sites() if network.sites.site(id).name == named]
    if len(found) != 1:
        raise NotFound(
            "NotFound",
            f"{len(found)} sites have this name",
            found=named,
            hint="see `fatechain site list` for their ids",
        )
    return found[0]


def keep(site: Site, id: str, report: Report, content: bytes) -> bool:
    """Keep what `chain.audit_questions.verify_answer` found: told once, however often it is found.

    Whether that settles it: another file, and what could not be checked, is looked at again.
    """
    is_the_file = not any(check.name == DIGEST_CHECK for check in report.failures)
    if is_the_file:
        keep_private(make_private(site.settings.audits) / f"{digest_of(content)}.json", content)
    short = _short(report)
    is_final = bool(short["final"])
    with site.store.begin() as session:
        row, request = session.get_one(AuditQuestion, id), session.get_one(AuditRequest, id)
        assert request.pack is not None
        before, row.report = row.report, short
        row.checked_at, row.problem = time.time(), ""
        if is_the_file:
            row.owed_since = None
            alerts.end(session, "audit.withheld", id)
        if before == short:
            return is_final
        told: dict[str, Any] = {"site": request.site, "pack": request.pack, "holds": report.ok}
        if not report.ok:
            told["failure"] = "{where}: {detail}".format(**short["failures"][0])[:MAX_DETAIL]
        record(session, "audit.answer.checked", id, told, "sync")
        kind = "audit.answered" if report.ok else "audit.answer_fails"
        alerts.see(session, kind, id, told, about=request.pack + told.get("failure", ""))
    return is_final


def _short(report: Report) -> dict[str, Any]:
    """What is kept of a report; ``final``: looking again would find no other."""
    failed = report.failures
    return {
        "ok": report.ok,
        "final": not any(c.name == DIGEST_CHECK or c.detail.startswith(UNCHECKED) for c in failed),
        "checks": len(report.checks),
        "shown": next((c.detail for c in report.checks if c.ok and c.where == "$.log"), None),
        "failures": [
            {"where": check.where[:200], "detail": check.detail[:MAX_DETAIL]}
            for check in failed[:MAX_FAILURES]
        ],
    }


# ── Who is asked


def receive(site: Site, sender: str, id: str, content: bytes) -> None:
    """Take the question of a request to this site; taking it twice is taking it once.

    Raises `NotFound` while no confirmed block has the request, `Refused` for who did not ask and
    for what is asked of another, and `Invalid` (``QuestionInvalid``) for another question.  What no
    pack could answer is entered: `Invalid` for a thing that the chain does not know, and `TooLarge`
    (``PackTooLarge``) for a period of too many entries, with the periods that fit.
    """
    with site.store.read() as session:
        row, kept = session.get(AuditRequest, id), session.get(AuditQuestion, id)
        ledger = read_ledger(session)
    row = _of_asker(site, sender, id, row)
    if row.site != site.id:
        raise Refused("NotOperator", "another site is asked", found=id, allowed=row.site)
    if kept is not None:
        return
    with chain_errors():
        network = site.network()
        request = network.auditrequests.request(id)
    try:
        question = read_question(content)
        require_asked(question, request, network)
        if question.asker != sender:
            raise VerificationFailed("$.asker", question.asker, sender)
    except VerificationFailed as failure:
        raise Invalid(
            "QuestionInvalid",
            f"this is not the question of the request: {failure}",
            found=digest_of(content),
            allowed=row.digest,
        ) from failure
    try:
        require_known(wanted_of(question), ledger)
    except NotFound as unknown:
        told = {"question": question.digest, "asker": sender, "why": unknown.detail}
        _enter_once(site, "audit.question.refused", id, told, sender)
        raise Invalid(
            "QuestionInvalid",
            f"no pack can answer this question: {unknown.detail}",
            found=unknown.found,
            allowed="a site, dataset or job of the chain",
            hint="file another request",
        ) from unknown
    try:
        require_fits(site, question.scope)
    except TooLarge as large:
        why = f"{large.found}, at most {large.allowed}; {large.hint}"[:MAX_DETAIL]
        told = {"question": question.digest, "asker": sender, "why": why}
        _enter_once(site, "audit.question.refused", id, told, sender)
        raise
    brought_at = time.time()
    with site.store.begin() as session:
        if session.get(AuditQuestion, id) is None:
            question_row = AuditQuestion(id=id, asker=sender, content=content.decode())
            question_row.brought_at = brought_at
            session.add(question_row)
            told = {"question": question.digest, "asker": sender}
            record(session, "audit.question.received", id, told, sender)


def refusal(site: Site, row: AuditRequest) -> dict[str, Any]:
    """This site's signed word why it was silent about a request whose question it has not.

    ``why`` is "missing": nothing but the digest came; or "refused": a question came that no pack
    answers.  Signed by the request key, as evidence is.  What its log has of it, copies show, too:
    ``audit.question.missing``, ``audit.question.refused`` and ``audit.question.received``.
    """
    came = _is_entered(site, "audit.question.refused", row.id)
    identity = site.identity
    told: dict[str, Any] = {
        "type": "audit-refusal",
        "request": row.id,
        "site": site.id,
        "by": row.by,
        "question": row.digest,
        "until": row.until,
        "why": "refused" if came else "missing",
        "issuedAt": now(),
        "keyId": site.key_id(identity=identity),
    }
    signature = identity.sign(canonical.dumps(told))
    return told | {"signature": base64.b64encode(signature).decode()}


def enter_missing(site: Site, row: AuditRequest) -> None:
    """Enter that no question of a request to this site came by its deadline, if none did."""
    with site.store.read() as session:
        came = session.get(AuditQuestion, row.id) is not None
    if row.site != site.id or came or _is_entered(site, "audit.question.refused", row.id):
        return
    told = {"question": row.digest, "by": row.by, "until": row.until}
    _enter_once(site, "audit.question.missing", row.id, told, "sync")


def _is_entered(site: Site, kind: str, id: str) -> bool:
    query = select(AuditEntry.index).where(
        AuditEntry.subject == id, AuditEntry.type == type_of(kind)
    )
    with site.store.read() as session:
        return session.scalar(query.limit(1)) is not None


def answer(site: Site, id: str, redacted: tuple[str, ...] = ()) -> Submitted:
    """Make the pack that the question asks for, and write its digest on the chain, once.

    ``redacted`` as of a pack.  Raises `NotFound`, `Refused` (``NotOperator``) where another site is
    asked, `Conflict` where it is answered or its question was not brought (``QuestionMissing``),
    `Unavailable` (``NotAnchored``) until a head of after the request is anchored, and what
    `node.packs.pack` raises.
    """
    with site.store.read() as session:
        row, asked = session.get(AuditRequest, id), session.get(AuditQuestion, id)
        newest = session.scalar(select(func.max(Anchor.block))) or -1
    if row is None:
        raise _unknown(id)
    if row.site != site.id:
        raise Refused("NotOperator", "another site is asked", found=id, allowed=row.site)
    submitted = Submitted(id, f"audit.answer:{id}")
    if is_open(site, submitted.intent):
        return submitted
    if row.pack is not None:
        raise Conflict("Conflict", "this request is answered", found=id, allowed="one answer")
    if asked is None:
        raise Conflict(
            "QuestionMissing",
            "the chain has the digest of what is asked; the question itself is not here yet",
            found=row.digest,
            hint="the node that asks brings it: ask its site whether it runs and reaches this one",
        )
    if newest < row.block:
        raise Unavailable(
            "NotAnchored",
            "no head of this site's log is anchored since it was asked",
            found=newest,
            allowed=row.block,
            hint="one is due already: try again when it stands on the chain",
        )
    question = read_question(asked.content.encode())
    content = pack(site, wanted_of(question, redacted))
    digest = digest_of(content)
    keep_private(make_private(site.settings.audits) / f"{digest}.json", content)
    with chain_errors():
        call = site.network().auditrequests.answer(id, digest)
        rehearse(site, call)
    facts = {"pack": digest, "redacted": sorted(set(redacted))}
    return submit(site, submitted, call, "audit.answered", facts)


def wanted_of(question: Question, redacted: tuple[str, ...] = ()) -> Wanted:
    """The pack that a question asks for."""
    scope = question.scope
    since, until = moment_of(scope["from"]), moment_of(scope["until"])
    return Wanted(since, until, scope["site"], scope["dataset"], scope["job"], redacted)


def hand_over(site: Site, sender: str, id: str) -> Path:
    """The file that answers, for whoever asked; that a site fetched it is entered first, once.

    Raises `NotFound` where there is no request or no answer, `Refused` for who did not ask.
    """
    with site.store.read() as session:
        row = session.get(AuditRequest, id)
    row = _of_asker(site, sender, id, row)
    path = answer_file(site, row)
    _enter_once(site, "audit.pack.fetched", id, {"pack": row.pack, "by": sender}, sender)
    return path


def _enter_once(site: Site, kind: str, id: str, told: dict[str, Any], sender: str) -> None:
    """Of a request and a sender: whoever repeats itself grows nobody's log.  A request has one
    question and one pack, whose digests the chain has."""
    placed = select(AuditEntry.index).where(
        AuditEntry.subject == id, AuditEntry.type == type_of(kind), AuditEntry.actor == sender
    )
    with site.store.begin() as session:
        if session.scalar(placed.limit(1)) is not None:
            return
        for waiting in session.scalars(select(AuditPending.entry)):
            entry = json.loads(waiting)
            if (entry["subject"], entry["type"], entry["actor"]) == (id, type_of(kind), sender):
                return
        record(session, kind, id, told, sender)


def answer_file(site: Site, row: AuditRequest) -> Path:
    """The file whose digest the chain has as the answer.  Raises `NotFound`."""
    path = site.settings.audits / f"{row.pack}.json"
    if row.pack is None or not path.is_file():
        raise NotFound("NotFound", "the file of an answer is not here", found=row.pack)
    return path


def question_file(site: Site, id: str) -> bytes:
    """The question of a request, whose digest the chain has.  Raises `NotFound`."""
    with site.store.read() as session:
        row = session.get(AuditQuestion, id)
    if row is None:
        raise NotFound("NotFound", "the question of this request is not here", found=id)
    return row.content.encode()


def _of_asker(site: Site, sender: str, id: str, row: AuditRequest | None) -> AuditRequest:
    """The request, if the sender filed it: as its auditor's site, or as a site of its member."""
    if row is None:
        raise _unknown(id)
    found = sender if row.auditor is not None else site.directory.member_of(sender)
    if found != (allowed := row.auditor or row.by):
        raise Refused(
            "NotOwner", "only who filed a request speaks for it", found=found, allowed=allowed
        )
    return row


def _unknown(id: str) -> NotFound:
    return NotFound("NotFound", "no confirmed block has this request for an audit", found=id)


def utc(at: datetime | None) -> datetime | None:
    """A time without a zone is meant in UTC."""
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
