"""Proposals: what each would do, who said what, how far it is, and what may be done with it here.

The words of a proposal are its maker's.  What its calls do is decoded from the contracts'
interfaces and tried out on a copy of the chain; `warnings` tells where the words do not agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from sqlalchemy import or_, select

from node import governance
from node.api.pages import Page, from_cursor, to_cursor
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.errors import NodeError
from node.store import Proposal, Vote
from node.votes import OPEN

if TYPE_CHECKING:
    from chain.calls import BlockRef
    from chain.effects import Effect
    from chain.governor import ProposalView
    from chain.network import Network
    from chain.proposals import Action
    from node.site import Site

State = Literal[
    "OPEN",
    "SUBMITTED",
    "REFUSED",
    "PENDING",
    "ACTIVE",
    "CANCELED",
    "DEFEATED",
    "SUCCEEDED",
    "QUEUED",
    "EXPIRED",
    "EXECUTED",
]
"""As the governor has them; SUBMITTED and REFUSED: the chain has it not yet, or did not take it;
OPEN: any of those that may still change."""

Verdict = Literal["as proposed", "differs", "not declared", "not known"]


class KindShown(Shown):
    """`parameters` is a JSON schema (2020-12)."""

    kind: str
    text: str
    parameters: dict[str, Any]


class ActionShown(Shown):
    """A call, decoded.  `known` is false where no interface of the consortium declares it."""

    target: str
    value: str
    calldata: str
    contract: str
    function: str
    args: dict[str, Any]
    text: str
    known: bool


class Check(Shown):
    """What the description declares, held against what was tried out or really happened."""

    verdict: Verdict
    declared: str | None
    found: str | None
    text: str


class Warned(Shown):
    """What a voter must not overlook."""

    code: str
    text: str


class VoteShown(Shown):
    voter: str
    member: Named | None
    support: str
    reason: str
    weight: int
    block: int
    time: int | None
    tx_hash: str


class Tally(Shown):
    """Votes for and abstentions count towards the quorum; it is null until the vote has begun."""

    for_: int = Field(serialization_alias="for")
    against: int
    abstain: int
    quorum: int | None
    quorum_reached: bool
    missing: int | None


class Moment(Shown):
    """`expected`: it has not happened yet, and its time is an estimate from the chain's pace."""

    what: str
    block: int | None
    time: int | None
    tx_hash: str | None
    expected: bool


class Countdown(Shown):
    """How long until `what`; `about_seconds` is an estimate where the chain counts blocks."""

    what: str
    until_block: int | None
    blocks: int | None
    until_time: int
    about_seconds: int


class WhyNot(Shown):
    code: str
    detail: str
    hint: str | None


class Can(Shown):
    """What this node's own account may do now; `vote_refusal` says why it may not vote."""

    vote: bool
    vote_refusal: WhyNot | None
    withdraw: bool
    queue: bool
    execute: bool


class EventShown(Shown):
    contract: str
    name: str
    args: dict[str, Any]


class MemberChanged(Shown):
    """`before` and `after`: account, name and standing; null: no member."""

    member: str
    before: dict[str, str] | None
    after: dict[str, str] | None


class Changed(Shown):
    what: str
    before: Any
    after: Any


class CodeChanged(Shown):
    """Other code behind a contract's address.  `known_as` null: nobody knows that code."""

    name: str
    old: str
    new: str
    code_hash: str
    known_as: str | None
    layout_ok: bool | None
    why: str


class GrantChanged(Shown):
    """Whether a grant can be used; null: it can, else why not."""

    grant: str
    purpose: str
    algorithm: str
    before: str | None
    after: str | None


class JobChanged(Shown):
    """Whether an open job may run; null: it may, else why not."""

    job: str
    before: str | None
    after: str | None


class EffectShown(Shown):
    """What would change, tried out on a copy of block `block`."""

    block: int
    digest: str
    events: list[EventShown]
    members: list[MemberChanged]
    parameters: list[Changed]
    contracts: list[CodeChanged]
    grants: list[GrantChanged]
    jobs: list[JobChanged]
    refused: str | None


class PreviewShown(Shown):
    """What a proposal would be, and would do."""

    kind: str
    title: str
    params: dict[str, Any]
    actions: list[ActionShown]
    effect: EffectShown


class ProposalSummary(Shown):
    id: str
    state: str
    kind: str | None
    title: str
    proposer: str
    member: Named | None
    mine: bool
    created_block: int | None
    deadline: int | None
    tally: Tally
    countdown: Countdown | None
    voted: str | None  # how this node's own account voted


class ProposalShown(ProposalSummary):
    body: str
    params: dict[str, Any] | None
    description: str
    actions: list[ActionShown]
    effect: EffectShown | None
    effect_check: Check
    executed_check: Check | None
    warnings: list[Warned]
    votes: list[VoteShown]
    timeline: list[Moment]
    can: Can
    snapshot: int | None
    eta: int | None
    problem: WhyNot | None


def kinds() -> list[KindShown]:
    """Every kind of proposal with its parameters, for forms and programs."""
    from chain.proposals import PARAMS

    shown = []
    for kind, params in PARAMS.items():
        schema = params.model_json_schema()
        text = (params.__doc__ or "").strip()
        schema.pop("description", None)
        shown.append(KindShown(kind=kind, text=text, parameters=schema))
    return shown


def preview(network: Network, made: governance.Preview) -> PreviewShown:
    return PreviewShown(
        kind=made.draft.kind,
        title=made.draft.title,
        params=made.draft.params_json(),
        actions=[_action(network, action) for action in made.actions],
        effect=effect_shown(made.effect.to_json()),
    )


def page(
    site: Site,
    names: Names,
    *,
    limit: int,
    cursor: str | None = None,
    state: State | None = None,
) -> Page[ProposalSummary]:
    """Newest first."""
    newest_first = Proposal.created_at.desc(), Proposal.id.desc()
    query = select(Proposal).order_by(*newest_first).limit(limit + 1)
    if state == "OPEN":
        query = query.where(Proposal.state.in_(("SUBMITTED", *OPEN)))
    elif state is not None:
        query = query.where(Proposal.state == state)
    if (position := from_cursor(cursor, float, str)) is not None:
        at, id = position
        earlier = (Proposal.created_at == at) & (Proposal.id < id)
        query = query.where(or_(Proposal.created_at < at, earlier))
    with site.store.read() as session:
        rows = list(session.scalars(query))
    reader = _Reader(site, names)
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=[reader.summary(row) for row in rows[:limit]],
        next=None if last is None else to_cursor(last.created_at, last.id),
    )


def show(site: Site, names: Names, id: str) -> ProposalShown:
    """Raises `NotFound` (``ProposalUnknown``)."""
    return _Reader(site, names).whole(governance.row_of(site, id))


class _Reader:
    """What reading many proposals has in common: one head, one set of names."""

    def __init__(self, site: Site, names: Names) -> None:
        self.site = site
        self.names = names
        self.network = site.network()
        self.head: BlockRef = self.network.client.head()
        self.own = site.identity.address

    def summary(self, row: Proposal) -> ProposalSummary:
        return ProposalSummary(**self._summary(row, self._on_chain(row), self._votes(row)))

    def whole(self, row: Proposal) -> ProposalShown:
        found, votes = self._on_chain(row), self._votes(row)
        made = governance.made_of(row)
        effect, known = self._effect(row)
        problem = row.problem
        body = _body(row)
        check = _effect_check(row, effect, known)
        executed = _executed_check(row)
        return ProposalShown(
            **self._summary(row, found, votes),
            body=body,
            params=row.params,
            description=row.description,
            actions=[_action(self.network, action) for action in made.actions],
            effect=_shown_effect(row, effect),
            effect_check=check,
            executed_check=executed,
            warnings=self._warnings(row, made.actions, effect, check, executed),
            votes=[self._vote(vote) for vote in votes],
            timeline=self._timeline(row, found),
            can=self._can(row, found),
            snapshot=row.snapshot,
            eta=row.eta,
            problem=None
            if problem is None
            else WhyNot(code=problem["code"], detail=problem["detail"], hint=None),
        )

    # ── Parts ────────────────────────────────────────────────────────────────────────────────

    def _on_chain(self, row: Proposal) -> ProposalView | None:
        """The governor's view of an open proposal; the rows know all about a closed one."""
        if row.state not in OPEN:
            return None
        try:
            return governance.proposal_of(self.network, row.id)
        except NodeError:
            return None  # the endpoint is behind: what this site has read stands

    def _votes(self, row: Proposal) -> list[Vote]:
        with self.site.store.read() as session:
            query = select(Vote).where(Vote.proposal_id == row.id)
            return list(session.scalars(query.order_by(Vote.block, Vote.voter)))

    def _summary(
        self, row: Proposal, found: ProposalView | None, votes: list[Vote]
    ) -> dict[str, Any]:
        own = [vote.support for vote in votes if vote.voter == self.own]
        return {
            "id": row.id,
            "state": row.state if found is None else str(found.state),
            "kind": row.kind,
            "title": row.title,
            "proposer": row.proposer,
            "member": self.names.member_of(row.proposer),
            "mine": row.proposer == self.own,
            "created_block": row.created_block,
            "deadline": row.deadline if found is None else found.deadline,
            "tally": self._tally(row, found, votes),
            "countdown": None if found is None else self._countdown(found),
            "voted": own[0] if own else None,
        }

    def _tally(self, row: Proposal, found: ProposalView | None, votes: list[Vote]) -> Tally:
        counts = dict.fromkeys(("for", "against", "abstain"), 0)
        for vote in votes:
            counts[vote.support] += vote.weight
        quorum = None
        if found is not None:
            counts = {"for": found.for_, "against": found.against, "abstain": found.abstain}
            quorum = found.quorum
        elif row.snapshot is not None and row.snapshot < self.head.number:
            quorum = self.network.governor.quorum(row.snapshot)
        counted = counts["for"] + counts["abstain"]
        return Tally(
            for_=counts["for"],
            against=counts["against"],
            abstain=counts["abstain"],
            quorum=quorum,
            quorum_reached=quorum is not None and counted >= quorum,
            missing=None if quorum is None else max(quorum - counted, 0),
        )

    def _countdown(self, found: ProposalView) -> Countdown | None:
        match str(found.state):
            case "PENDING":
                return self._until_block("voting begins", found.snapshot + 1)
            case "ACTIVE":
                return self._until_block("voting ends", found.deadline + 1)
            case "QUEUED":
                left = max(found.eta - self.head.timestamp, 0)
                return Countdown(
                    what="may be executed",
                    until_block=None,
                    blocks=None,
                    until_time=found.eta,
                    about_seconds=left,
                )
            case _:
                return None

    def _until_block(self, what: str, block: int) -> Countdown:
        blocks = max(block - self.head.number, 0)
        seconds = self.site.block_times.seconds(blocks, self.head)
        return Countdown(
            what=what,
            until_block=block,
            blocks=blocks,
            until_time=self.head.timestamp + seconds,
            about_seconds=seconds,
        )

    def _vote(self, vote: Vote) -> VoteShown:
        return VoteShown(
            voter=vote.voter,
            member=self.names.member_of(vote.voter),
            support=vote.support,
            reason=vote.reason,
            weight=vote.weight,
            block=vote.block,
            time=self._time(vote.block),
            tx_hash=vote.tx_hash,
        )

    def _time(self, block: int) -> int:
        return self.site.block_times.at(block, self.head)

    def _timeline(self, row: Proposal, found: ProposalView | None) -> list[Moment]:
        """What happened, and what will if nothing comes between."""
        moments = [
            Moment(
                what=moment["what"],
                block=moment["block"],
                time=self._time(moment["block"]),
                tx_hash=moment["tx"],
                expected=False,
            )
            for moment in row.moments
        ]
        ended = {"canceled", "withdrawn"} & {moment.what for moment in moments}
        if row.snapshot is not None and row.deadline is not None:
            limits = (("voting begins", row.snapshot + 1), ("voting ends", row.deadline + 1))
            moments += [
                self._limit(what, block)
                for what, block in limits
                if not (ended and block > self.head.number)
            ]
        if row.state == "QUEUED" and row.eta is not None:
            moments.append(
                Moment(
                    what="may be executed",
                    block=None,
                    time=row.eta,
                    tx_hash=None,
                    expected=row.eta > self.head.timestamp,
                )
            )
        return sorted(moments, key=lambda moment: moment.time or 0)

    def _limit(self, what: str, block: int) -> Moment:
        return Moment(
            what=what,
            block=block,
            time=self._time(block),
            tx_hash=None,
            expected=block > self.head.number,
        )

    def _can(self, row: Proposal, found: ProposalView | None) -> Can:
        state = None if found is None else str(found.state)
        refusal = (
            governance.closed(row)
            if found is None
            else governance.may_vote(self.network, row.id, self.own)
        )
        return Can(
            vote=refusal is None,
            vote_refusal=None
            if refusal is None
            else WhyNot(code=refusal.code, detail=refusal.detail, hint=refusal.hint),
            withdraw=row.proposer == self.own and state in ("PENDING", "ACTIVE"),
            queue=state == "SUCCEEDED",
            execute=state == "QUEUED" and found is not None and found.eta <= self.head.timestamp,
        )

    # ── What it does ─────────────────────────────────────────────────────────────────────────

    def _effect(self, row: Proposal) -> tuple[Effect | None, bool]:
        """What an open proposal would do now, and whether that could be found out.

        Of a closed one the effect that this site saw last is shown.
        """
        if row.state not in ("SUBMITTED", *OPEN):
            return None, row.effect is not None
        effect = self.site.previews.of(self.network, row, self.head)
        return effect, effect is not None

    def _warnings(
        self,
        row: Proposal,
        actions: tuple[Action, ...],
        effect: Effect | None,
        check: Check,
        executed: Check | None,
    ) -> list[Warned]:
        shown = [_action(self.network, action) for action in actions]
        found = [
            Warned(code="UnknownCall", text=action.text) for action in shown if not action.known
        ]
        if row.kind is None:
            found.append(
                Warned(
                    code="ForeignProposal",
                    text="it was made by another program: judge it by its calls alone",
                )
            )
        elif not governance.is_what_it_says(self.network, row):
            found.append(
                Warned(
                    code="DescriptionDiffers",
                    text="its calls are not those that its description tells of",
                )
            )
        if effect is not None and effect.refused is not None:
            text = f"executed now it would fail: {governance.refusal_text(effect)}"
            found.append(Warned(code="WouldFail", text=text))
        if effect is not None:
            found += _of_code(effect)
        if check.verdict == "differs":
            found.append(Warned(code="EffectDiffers", text=check.text))
        if check.verdict == "not known":
            found.append(Warned(code="EffectNotKnown", text=check.text))
        if executed is not None and executed.verdict == "differs":
            found.append(Warned(code="ExecutedDiffers", text=executed.text))
        return found


def effect_shown(effect: dict[str, Any]) -> EffectShown:
    """An effect as `chain.effects.Effect.to_json` writes it, and this site's database keeps it."""
    refused = effect["refused"]
    if refused is not None:
        told = ", ".join(f"{name}={value}" for name, value in refused["values"].items())
        refused = f"{refused['error']}({told})"
    return EffectShown(
        block=effect["block"],
        digest=effect["digest"],
        events=[
            EventShown(contract=e["contract"], name=e["name"], args=e["args"])
            for e in effect["events"]
        ],
        members=[MemberChanged(**change) for change in effect["members"]],
        parameters=[Changed(**change) for change in effect["parameters"]],
        contracts=[
            CodeChanged(
                name=code["name"],
                old=code["from_"],
                new=code["to"],
                code_hash=code["code_hash"],
                known_as=code["known_as"],
                layout_ok=code["is_layout_ok"],
                why=code["why"],
            )
            for code in effect["contracts"]
        ],
        grants=[GrantChanged(**change) for change in effect["grants"]],
        jobs=[JobChanged(**change) for change in effect["jobs"]],
        refused=refused,
    )


def _shown_effect(row: Proposal, effect: Effect | None) -> EffectShown | None:
    """As tried out now, else as this site saw it last."""
    found = row.effect if effect is None else effect.to_json()
    return None if found is None else effect_shown(found)


def _of_code(effect: Effect) -> list[Warned]:
    """What must be known of other code behind a contract's address."""
    found = []
    for code in effect.contracts:
        if code.known_as is None:
            text = f"{code.name} would become code that this node does not know: {code.to}"
            found.append(Warned(code="UnknownCode", text=text))
        if code.is_layout_ok is not True:
            text = f"{code.name} may lose what it has stored: {code.why}"
            found.append(Warned(code="LayoutDiffers", text=text))
    return found


def _body(row: Proposal) -> str:
    from chain.errors import ProposalInvalid
    from chain.proposals import parse

    try:
        return parse(row.description)[0].body
    except ProposalInvalid:
        return row.description


def _action(network: Network, action: Action) -> ActionShown:
    from chain.proposals import describe

    told = describe(network, action)
    return ActionShown(
        **action.to_json(),
        contract=told.contract,
        function=told.function,
        args={name: _plain(value) for name, value in told.args.items()},
        text=told.text,
        known=told.known,
    )


def _plain(value: Any) -> Any:
    """Whole numbers beyond 2**53 as text: JSON's readers would round them."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return str(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _effect_check(row: Proposal, effect: Effect | None, known: bool) -> Check:
    found = row.effect_digest if effect is None else effect.digest
    if row.declared_digest is None:
        verdict: Verdict = "not declared"
        text = "its description does not say what it would do"
    elif not known or found is None:
        verdict, text = "not known", "its effect cannot be tried out here now"
    elif found == row.declared_digest:
        verdict, text = "as proposed", "it would do what its description declares"
    else:
        verdict = "differs"
        text = "it would do something else now than its description declares"
    return Check(verdict=verdict, declared=row.declared_digest, found=found, text=text)


def _executed_check(row: Proposal) -> Check | None:
    if row.state != "EXECUTED":
        return None
    declared, found = row.declared_digest, row.executed_digest
    if found is None:
        verdict: Verdict = "not known"
        text = "its events have not been compared yet"
    elif declared is None:
        verdict, text = "not declared", "its description did not say what it would do"
    elif found == declared:
        verdict, text = "as proposed", "it did what its description declared"
    else:
        verdict, text = "differs", "it did something else than its description declared"
    return Check(verdict=verdict, declared=declared, found=found, text=text)
