"""Events of the governor → proposals and votes in this site's database.

Applied by `node.projection` in the transaction that stores the events.  A proposal may have been
made by anybody's program: what its description says is taken for what it claims, never for what its
calls do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from node.store import Proposal, Vote

if TYPE_CHECKING:
    from chain.calls import EventRecord
    from node.errors import NodeError

GOVERNOR = "ConsortiumGovernor"
OPEN = ("PENDING", "ACTIVE", "SUCCEEDED", "QUEUED")
LOST = ("REFUSED", "CANCELED", "DEFEATED", "EXPIRED")  # over, and nothing came of it
MAX_TITLE = 200

Handler = Callable[[Session, "EventRecord", "str | None"], None]


def claims(description: str) -> dict[str, Any]:
    """What a description says of itself, as columns of `Proposal`.

    One that another program wrote has a title at most.
    """
    from chain.errors import ProposalInvalid
    from chain.proposals import parse

    try:
        draft, digest = parse(description)
    except ProposalInvalid:
        first = description.strip().partition("\n")[0].lstrip("# ").strip()
        return {"kind": None, "title": first[:MAX_TITLE], "params": None, "declared_digest": None}
    return {
        "kind": draft.kind,
        "title": draft.title[:MAX_TITLE],
        "params": draft.params_json(),
        "declared_digest": digest,
    }


def _created(session: Session, event: EventRecord, me: str | None) -> None:
    from chain.governor import Proposal as Made

    made, args = Made.from_event(event.args), event.args
    row = session.get(Proposal, _id(event))
    if row is None:
        row = Proposal(id=_id(event), moments=[])
        session.add(row)
    row.actions = [action.to_json() for action in made.actions]
    row.description, row.proposer = made.description, args["proposer"]
    row.snapshot, row.deadline = args["voteStart"], args["voteEnd"]
    row.state, row.created_block, row.problem = "PENDING", event.block_number, None
    for name, value in claims(row.description).items():
        setattr(row, name, value)
    _note(row, "proposed", event)
    session.flush()


def _voted(session: Session, event: EventRecord, me: str | None) -> None:
    from chain.governor import SUPPORT_NAMES

    args, key = event.args, (_id(event), event.args["voter"])
    if session.get(Vote, key) is None:
        session.add(
            Vote(
                proposal_id=key[0],
                voter=key[1],
                support=SUPPORT_NAMES[args["support"]],
                reason=args["reason"],
                weight=args["weight"],
                block=event.block_number,
                tx_hash=event.tx_hash,
            )
        )
        session.flush()


def _extended(session: Session, event: EventRecord, me: str | None) -> None:
    row = _row(session, event)
    if row is not None:
        row.deadline = event.args["extendedDeadline"]
        _note(row, "extended", event)


def _queued(session: Session, event: EventRecord, me: str | None) -> None:
    row = _row(session, event)
    if row is not None:
        row.state, row.eta, row.problem = "QUEUED", event.args["etaSeconds"], None
        _note(row, "queued", event)


def _executed(session: Session, event: EventRecord, me: str | None) -> None:
    row = _row(session, event)
    if row is not None:
        row.state, row.executed_tx, row.problem = "EXECUTED", event.tx_hash, None
        _note(row, "executed", event)


def _canceled(session: Session, event: EventRecord, me: str | None) -> None:
    row = _row(session, event)
    if row is not None:
        row.state, row.problem = "CANCELED", None
        _note(row, "canceled", event)


def _withdrawn(session: Session, event: EventRecord, me: str | None) -> None:
    row = _row(session, event)
    if row is not None:
        _note(row, "withdrawn", event)


HANDLERS: Mapping[tuple[str, str], Handler] = {
    (GOVERNOR, "ProposalCreated"): _created,
    (GOVERNOR, "VoteCast"): _voted,
    (GOVERNOR, "VoteCastWithParams"): _voted,
    (GOVERNOR, "ProposalExtended"): _extended,
    (GOVERNOR, "ProposalQueued"): _queued,
    (GOVERNOR, "ProposalExecuted"): _executed,
    (GOVERNOR, "ProposalCanceled"): _canceled,
    (GOVERNOR, "ProposalWithdrawn"): _withdrawn,
}


def intent_refused(session: Session, intent: str, reason: NodeError) -> None:
    """The chain refused a transaction about a proposal: the proposal says why."""
    kind, _, rest = intent.partition(":")
    what, _, rest = rest.partition(":")
    if kind != "proposal":
        return
    row = session.get(Proposal, rest.partition(":")[0])
    if row is None:
        return
    if what == "make" and row.state == "SUBMITTED":
        row.state = "REFUSED"
    if what == "make" or row.state in OPEN:
        row.problem = {"code": reason.code, "detail": reason.detail}


def _row(session: Session, event: EventRecord) -> Proposal | None:
    """None for a proposal that this site's history does not reach back to."""
    return session.get(Proposal, _id(event))


def _id(event: EventRecord) -> str:
    from chain.governor import proposal_id_text

    return proposal_id_text(event.args["proposalId"])


def _note(row: Proposal, what: str, event: EventRecord) -> None:
    # A new list: the database sees a change of a JSON column only by assignment.
    row.moments = [
        *row.moments,
        {"what": what, "block": event.block_number, "tx": event.tx_hash},
    ]
