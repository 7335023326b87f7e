"""The brake and emergency accesses, as the chain has them at its newest block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sqlalchemy import select

from node.api.pages import Page
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.api.views.sites import chosen_of, is_own
from node.refusals import chain_errors
from node.store import ChainEvent

if TYPE_CHECKING:
    from chain.breakglass import Emergency
    from chain.network import Network
    from node.site import Site

# ── The brake ────────────────────────────────────────────────────────────────────────────────


class Voice(Shown):
    """A member that wants all work stopped; `reason` is the SHA-256 of its last reason, null until
    this site has read it from the confirmed events."""

    member: Named
    reason: str | None
    block: int | None
    mine: bool


class BrakeShown(Shown):
    """`paused_until` is block time in Unix seconds, null while the brake is not pulled.  A pause
    takes the voices of `needed` different members within an hour, and lasts `pause_seconds`."""

    paused: bool
    paused_until: int | None
    seconds_left: int
    voices: list[Voice]
    needed: int
    pause_seconds: int


def brake(site: Site, names: Names) -> BrakeShown:
    with chain_errors():
        network = site.network()
        head = network.client.head()
        contract = network.brake.at(head.number)
        until, standing = contract.paused_until(), contract.voices()
        needed, seconds = contract.members_needed(), contract.pause_seconds()
        voices = [
            _voice(site, names, member, mine=is_own(site, network, member)) for member in standing
        ]
    left = max(0, until - head.timestamp)
    return BrakeShown(
        paused=left > 0,
        paused_until=until if left else None,
        seconds_left=left,
        voices=voices,
        needed=needed,
        pause_seconds=seconds,
    )


def _voice(site: Site, names: Names, member: str, *, mine: bool) -> Voice:
    query = (
        select(ChainEvent)
        .where(ChainEvent.contract == "Brake", ChainEvent.name == "BrakeVoiced")
        .order_by(ChainEvent.id.desc())
    )
    with site.store.read() as session:
        said = next((e for e in session.scalars(query) if e.args["member"] == member), None)
    return Voice(
        member=names.member(member),
        reason=None if said is None else str(said.args["reason"]),
        block=None if said is None else said.block,
        mine=mine,
    )


# ── Breaking the glass ───────────────────────────────────────────────────────────────────────

State = Literal["OPEN", "ENDED", "OVERDUE", "LAPSED", "REVIEWED"]


class Countdown(Shown):
    """`at` is block time; `seconds` from the chain's newest block."""

    what: Literal["the access ends", "the review is due"]
    at: int
    seconds: int


class EmergencyShown(Shown):
    """OPEN: data may be used. ENDED: not any more, and the review is due until `review_by`.
    OVERDUE: nobody reviewed it, so anybody may let it lapse. LAPSED: its owner was suspended.
    REVIEWED: `justified` says how, whenever that was.

    Times are block times, `opened_at`, `reviewed_at` and `lapsed_at` blocks (0: it did not happen).
    `purpose` and `reasons` are digests; `grant_state` is that of the grant with the same id.
    """

    id: str
    state: State
    owner: Named
    dataset: Named
    grantee: Named
    people: list[str]
    purpose: str
    grant_state: str
    opened_at: int
    until: int
    review_by: int
    countdown: Countdown | None
    can_lapse: bool
    reviewed_at: int
    justified: bool | None
    reasons: str | None
    lapsed_at: int
    mine: bool


def page(
    site: Site, names: Names, *, limit: int, cursor: str | None = None, state: State | None = None
) -> Page[EmergencyShown]:
    """In the order of their opening."""
    with chain_errors():
        network = site.network()
        found, more = chosen_of(
            network.breakglass.emergencies(),
            limit,
            cursor,
            lambda id: _emergency(site, network, names, id),
            lambda one: state in (None, one.state),
        )
    return Page(items=found, next=more)


def show(site: Site, names: Names, id: str) -> EmergencyShown:
    """Raises `NotFound`."""
    with chain_errors():
        return _emergency(site, site.network(), names, id)


def _emergency(site: Site, network: Network, names: Names, id: str) -> EmergencyShown:
    head = network.client.head()
    found = network.breakglass.emergency(id, block=head.number)
    grant_state = str(network.consents.state(id, block=head.number))
    terms = network.consents.record(id, block=head.number).terms
    state = _state(found, grant_state, head.timestamp)
    return EmergencyShown(
        id=id,
        state=state,
        owner=names.member(found.owner),
        dataset=names.dataset(terms.dataset_id),
        grantee=_grantee(names, terms.grantee),
        people=[found.first, found.second],
        purpose=found.purpose,
        grant_state=grant_state,
        opened_at=found.opened_at,
        until=found.until,
        review_by=found.review_by,
        countdown=_countdown(found, state, head.timestamp),
        can_lapse=state == "OVERDUE",
        reviewed_at=found.reviewed_at,
        justified=found.justified if found.reviewed_at else None,
        reasons=found.reasons if found.reviewed_at else None,
        lapsed_at=found.lapsed_at,
        mine=is_own(site, network, found.owner),
    )


def _state(found: Emergency, grant_state: str, now: int) -> State:
    if found.reviewed_at:
        return "REVIEWED"
    if found.lapsed_at:
        return "LAPSED"
    if now >= found.review_by:
        return "OVERDUE"
    # A use that is counted may still run: a used-up grant is not over.
    return "OPEN" if grant_state in ("ACTIVE", "USED_UP") and now < found.until else "ENDED"


def _countdown(found: Emergency, state: State, now: int) -> Countdown | None:
    if state == "OPEN":
        return Countdown(what="the access ends", at=found.until, seconds=found.until - now)
    if state == "ENDED":
        left = found.review_by - now
        return Countdown(what="the review is due", at=found.review_by, seconds=left)
    return None


def _grantee(names: Names, id: str) -> Named:
    from chain.consents import ALL_MEMBERS

    return Named(id=id, name="all members") if id == ALL_MEMBERS else names.member(id)
