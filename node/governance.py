"""What a delegate does: propose, vote, withdraw, carry on what has passed.

As in `node.registration`, each use case asks first whether it would be taken, tells a refusal at
once with its reason, and otherwise records in one transaction what it means here, the audit entry
and the transaction that `fatechain sync` will send.  A proposal is simulated before it is made: its
description carries the digest of what it would do, and one that would do nothing but fail is
refused unless it is forced.

A ballot is a vote that its voter signed elsewhere (EIP-712), in a wallet or offline; any node
relays it, and pays for it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from node.errors import Conflict, Invalid, NodeError, NotFound, Refused, Unavailable
from node.refusals import chain_errors
from node.registration import code_digest_of, member_id_of
from node.store import ChainTx, Proposal, Vote
from node.submission import Submitted, is_open, rehearse, submit
from node.votes import LOST, OPEN

if TYPE_CHECKING:
    from chain.effects import Effect
    from chain.governor import Proposal as Made
    from chain.governor import ProposalView
    from chain.network import Network
    from chain.proposals import Action, Draft
    from node.site import Site

log = logging.getLogger(__name__)

MAX_REASON = 2000  # characters; a reason is stored on the chain by whoever votes


@dataclass(frozen=True)
class ProposalRequest:
    """What is proposed: a kind with its parameters, and words for those who vote."""

    kind: str
    params: dict[str, Any]
    title: str
    body: str = ""


@dataclass(frozen=True)
class Preview:
    """A proposal as it would be made, and what it would do at the chain's newest block."""

    draft: Draft
    actions: tuple[Action, ...]
    effect: Effect

    @property
    def would_fail(self) -> str | None:
        """With which error it would be refused."""
        return refusal_text(self.effect)


@dataclass(frozen=True)
class Ballot:
    """A signed vote, as its voter hands it to a node."""

    voter: str
    support: str
    reason: str
    signature: str


# ── Proposing ────────────────────────────────────────────────────────────────────────────────


def preview(site: Site, request: ProposalRequest) -> Preview:
    """What `request` would do if it were executed now; nothing is made.

    Raises `Invalid` (``ProposalInvalid``) for a kind or parameters that there are not, and
    `Unavailable` (``ForkFailed``) where it cannot be tried out.
    """
    from chain.errors import ForkFailed
    from chain.proposals import actions

    network = site.network()
    draft = _draft(network, request)
    calls = actions(draft, network)
    try:
        return Preview(draft, calls, site.simulate(network, calls))
    except ForkFailed as error:
        raise Unavailable(
            "ForkFailed", str(error), hint="is the package pyrevm installed where the node runs?"
        ) from error


def propose(site: Site, request: ProposalRequest, *, force: bool = False) -> Submitted:
    """Put a proposal to the members.

    Raises `Refused` (``ProposalWouldFail``) for one whose execution would be refused now, unless
    `force`; `Conflict` (``ProposalExists``) for one that was made before, word for word, by this
    account or, unless `force`, by another one.
    """
    from chain.governor import Proposal as Made
    from chain.proposals import description

    made = preview(site, request)
    network = site.network()
    _require_founded(network)
    if made.would_fail is not None and not force:
        raise Refused(
            "ProposalWouldFail",
            f"executed now it would be refused: {made.would_fail}",
            hint="correct the parameters; or propose it with force if what is missing will be "
            "there when the vote is over",
        )
    text = description(made.draft, made.effect.digest, site.identity.address)
    id = Made(made.actions, text).id
    submitted = Submitted(id, f"proposal.make:{id}")
    if is_open(site, submitted.intent) and row_of(site, id).state == "SUBMITTED":
        return submitted
    _require_new(network, id)
    if not force:
        _require_no_twin(site, made)
    call = network.governor.propose(made.actions, text)
    rehearse(site, call)
    facts = {"kind": request.kind, "title": request.title, "effect": made.effect.digest}
    row = _new_row(site, id, made, text)
    return submit(site, submitted, call, "proposal.made", facts, row)


def _draft(network: Network, request: ProposalRequest) -> Draft:
    from chain.errors import ProposalInvalid
    from chain.proposals import draft

    params = _ids_of(network, request.params)
    try:
        return draft(request.kind, params, title=request.title, body=request.body)
    except ProposalInvalid as fault:
        raise Invalid(
            "ProposalInvalid",
            f"{fault.where} is not what a proposal can have",
            found=fault.found,
            allowed=fault.allowed,
            hint="see `fatechain proposal kinds` for the parameters of each kind",
        ) from fault


def _ids_of(network: Network, params: dict[str, Any]) -> dict[str, Any]:
    """Names of members and algorithms as the ids that they mean."""
    found = dict(params)
    if isinstance(member := params.get("member"), str) and not member.startswith("0x"):
        try:
            found["member"] = member_id_of(network, member)
        except Invalid as error:
            raise Invalid(
                "ProposalInvalid",
                "the member is not known by this name",
                found=member,
                hint="name a member by its id or its name; see `fatechain member list`",
            ) from error
    if isinstance(digest := params.get("code_digest"), str):
        found["code_digest"] = code_digest_of(digest)
    return found


def _require_founded(network: Network) -> None:
    """Before the hand-over a vote could change nothing."""
    governing = network.consortium.authority()
    if governing != network.timelock.address:
        raise Conflict(
            "NotFounded",
            "the members do not govern this consortium yet: its authority is another account",
            found=governing,
            allowed=network.timelock.address,
            hint="whoever holds the authority hands it over with `fatechain found`",
        )


def _require_new(network: Network, id: str) -> None:
    from chain.errors import ContractRefused

    try:
        found = network.governor.proposal(id)
    except ContractRefused:
        return  # the governor knows none of this id
    raise _exists(id, str(found.state))


def _require_no_twin(site: Site, made: Preview) -> None:
    """The governor takes the same from two members; one open vote about it is enough.

    Unless whoever made that one first means to withdraw it: then `force` proposes it again.
    """
    from chain.errors import ProposalInvalid
    from chain.proposals import parse

    calls = [action.to_json() for action in made.actions]
    with site.store.read() as session:
        open_ones = list(session.scalars(select(Proposal).where(Proposal.state.in_(OPEN))))
    for row in open_ones:
        if row.actions != calls:
            continue
        try:
            draft = parse(row.description)[0]
        except ProposalInvalid:
            continue  # another program's words: ours say more
        if (draft.title, draft.body) == (made.draft.title, made.draft.body):
            raise _exists(row.id, row.state, "or propose it with force beside the other one")


def _exists(id: str, state: str, otherwise: str = "") -> Conflict:
    return Conflict(
        "ProposalExists",
        "this very proposal was made before, word for word",
        found={"id": id, "state": state},
        hint=f"see `fatechain proposal show {id}`; to propose the same again, change the title or "
        f"the text {otherwise}".rstrip(),
    )


def _new_row(site: Site, id: str, made: Preview, text: str) -> Proposal:
    return Proposal(
        id=id,
        state="SUBMITTED",
        kind=made.draft.kind,
        title=made.draft.title,
        params=made.draft.params_json(),
        actions=[action.to_json() for action in made.actions],
        description=text,
        proposer=site.identity.address,
        moments=[],
        declared_digest=made.effect.digest,
        effect=made.effect.to_json(),
        effect_digest=made.effect.digest,
    )


def withdraw(site: Site, id: str) -> Submitted:
    """Take back a proposal of this site while it is pending or active."""
    network = site.network()
    row = row_of(site, id)
    found = proposal_of(network, id)
    own = site.identity.address
    if row.proposer.lower() != own.lower():
        raise Refused(
            "NotProposer",
            "only the account that made a proposal can withdraw it",
            found=own,
            allowed=row.proposer,
        )
    if str(found.state) not in ("PENDING", "ACTIVE"):
        raise _wrong_state(found, "withdrawn", "PENDING or ACTIVE")
    call = network.governor.withdraw(id)
    submitted = Submitted(id, f"proposal.withdraw:{id}")
    if is_open(site, submitted.intent):
        return submitted
    rehearse(site, call)
    return submit(site, submitted, call, "proposal.withdrawn", {})


# ── Voting ───────────────────────────────────────────────────────────────────────────────────


def vote(site: Site, id: str, support: str, reason: str = "") -> Submitted:
    """Vote with this site's own account.

    Raises what `require_vote` raises, before any transaction is sent.
    """
    _check_words(support, reason)
    network = site.network()
    submitted = Submitted(id, f"vote.cast:{id}")
    if is_open(site, submitted.intent):
        detail = "this site has voted on this proposal, or its vote is on its way"
        raise _voted_already(detail, {"intent": submitted.intent})
    require_vote(network, id, site.identity.address)
    call = network.governor.vote(id, support, reason)
    rehearse(site, call)
    facts = {"support": support, "reason": reason}
    return submit(site, submitted, call, "vote.cast", facts)


def ballot(site: Site, id: str, voter: str, support: str, reason: str = "") -> dict[str, Any]:
    """The EIP-712 typed data that `voter` signs to vote; refused as a vote would be."""
    _check_words(support, reason)
    network = site.network()
    require_vote(network, id, voter)
    _require_none_waits(site, voter)
    typed: dict[str, Any] = network.governor.ballot(id, support, voter, reason)
    return typed


def relay(site: Site, id: str, signed: Ballot) -> Submitted | Vote:
    """Send a ballot for its voter; a `Vote` where the chain has this very vote already.

    Raises `Unauthenticated` (``SignatureInvalid``), and what `require_vote` raises.
    """
    _check_words(signed.support, signed.reason)
    network = site.network()
    cast = same_vote(site, id, signed)
    if cast is not None:
        return cast
    submitted = Submitted(id, f"ballot.relay:{id}:{signed.voter.lower()}:{signed.support}")
    if is_open(site, submitted.intent):
        return submitted
    require_vote(network, id, signed.voter)
    _require_none_waits(site, signed.voter)
    call = network.governor.vote_by_signature(
        id, signed.support, signed.voter, signed.reason, signed.signature
    )
    rehearse(site, call)
    facts = {"voter": signed.voter, "support": signed.support, "reason": signed.reason}
    return submit(site, submitted, call, "ballot.relayed", facts)


def _require_none_waits(site: Site, voter: str) -> None:
    """Ballots of one voter are numbered: while one is on its way, the next has no number yet."""
    query = select(ChainTx.intent).where(
        ChainTx.intent.startswith("ballot.relay:"),
        ChainTx.intent.contains(f":{voter.lower()}:", autoescape=True),
        ChainTx.state.in_(("WAITING", "SIGNED", "SENT")),
    )
    with site.store.read() as session:
        waits = session.scalars(query).first()
    if waits is not None:
        raise Conflict(
            "Conflict",
            "another ballot of this voter is on its way, and what is signed before it is counted "
            "would be void",
            found=waits.split(":")[1],
            hint="when that vote is counted, make the ballot anew and sign it",
        )


def same_vote(site: Site, id: str, signed: Ballot) -> Vote | None:
    """The confirmed vote that says what this ballot says, whoever sent it."""
    from eth_utils.address import to_checksum_address

    with site.store.read() as session:
        cast = session.get(Vote, (id, to_checksum_address(signed.voter)))
    if cast is None or (cast.support, cast.reason) != (signed.support, signed.reason):
        return None
    return cast


def require_vote(network: Network, id: str, voter: str) -> ProposalView:
    """The proposal, if `voter` may vote on it at the newest block.

    Raises `NotFound` (``ProposalUnknown``), `Conflict` (``VotingNotOpen``, ``AlreadyVoted``),
    `Refused` (``NotAVoter``: no active member when the vote began; ``MemberNotActive``: none now).
    """
    found = proposal_of(network, id)
    if str(found.state) != "ACTIVE":
        raise _not_open(found, network.client.head().number)
    if network.governor.has_voted(id, voter):
        raise _voted_already("this account has voted on this proposal", {"voter": voter})
    if network.governor.votes(voter, found.snapshot) == 0:
        raise Refused(
            "NotAVoter",
            "this account was no active member's when the vote began",
            found=voter,
            allowed=f"accounts of members that were active at block {found.snapshot}",
            hint="those admitted or reinstated later vote on the proposals that come after",
        )
    with chain_errors():
        network.membership.require_active_account(voter)
    return found


def may_vote(network: Network, id: str, voter: str) -> NodeError | None:
    """Why `voter` may not vote now; None if it may."""
    try:
        require_vote(network, id, voter)
    except NodeError as refusal:
        return refusal
    return None


def closed(row: Proposal) -> Conflict:
    """Why nobody can vote on a proposal that is over, or that the chain does not have."""
    return Conflict(
        "VotingNotOpen",
        f"nobody can vote on it: it is {row.state}",
        found=row.state,
        allowed="ACTIVE",
        hint=after_vote(row.state),
    )


def _check_words(support: str, reason: str) -> None:
    from chain.governor import SUPPORT

    if support not in SUPPORT:
        raise Invalid("InvalidRequest", "no such vote", found=support, allowed=list(SUPPORT))
    if len(reason) > MAX_REASON:
        raise Invalid(
            "InvalidRequest",
            f"a reason has at most {MAX_REASON} characters",
            found=len(reason),
            allowed=MAX_REASON,
        )


def _not_open(found: ProposalView, head: int) -> Conflict:
    if str(found.state) == "PENDING":
        return Conflict(
            "VotingNotOpen",
            f"voting begins after block {found.snapshot}; the newest block is {head}",
            found=str(found.state),
            allowed="ACTIVE",
            hint="vote when it has begun; `fatechain proposal vote` waits for it",
        )
    return Conflict(
        "VotingNotOpen",
        f"voting is over: the proposal is {found.state}, the last block for a vote was "
        f"{found.deadline}",
        found=str(found.state),
        allowed="ACTIVE",
        hint=after_vote(str(found.state)),
    )


def after_vote(state: str) -> str | None:
    """What is to be done about a proposal whose vote is over."""
    if state in LOST:
        return (
            "nothing comes of it; the same may be proposed again under another title or text, an "
            "admission with `fatechain sponsor`"
        )
    if state in ("SUCCEEDED", "QUEUED"):
        return "it has passed: the nodes queue and execute it by themselves"
    return None


def _voted_already(detail: str, found: Any) -> Conflict:
    return Conflict(
        "AlreadyVoted", detail, found=found, hint="a vote is final; see the proposal's votes"
    )


# ── Carrying on what has passed ──────────────────────────────────────────────────────────────


def queue(site: Site, id: str, *, actor: str | None = None) -> Submitted:
    """Put a proposal that has passed into the timelock; anybody may."""
    network = site.network()
    row = row_of(site, id)
    found = proposal_of(network, id)
    if str(found.state) != "SUCCEEDED":
        raise _wrong_state(found, "queued", "SUCCEEDED")
    call = network.governor.queue(made_of(row))
    rehearse(site, call)
    submitted = Submitted(id, f"proposal.queue:{id}")
    return submit(site, submitted, call, "proposal.queued", {}, actor=actor)


def execute(site: Site, id: str, *, actor: str | None = None) -> Submitted:
    """Execute a proposal whose time in the timelock is over; anybody may.

    Raises what its actions are refused with now.
    """
    network = site.network()
    row = row_of(site, id)
    found = proposal_of(network, id)
    if str(found.state) != "QUEUED":
        raise _wrong_state(found, "executed", "QUEUED")
    now = network.client.head().timestamp
    if found.eta > now:
        raise Conflict(
            "TimelockNotOver",
            f"it may be executed from block time {found.eta} on, in {found.eta - now} seconds",
            found=now,
            allowed=found.eta,
        )
    call = network.governor.execute(made_of(row))
    rehearse(site, call)
    submitted = Submitted(id, f"proposal.execute:{id}")
    return submit(site, submitted, call, "proposal.executing", {}, actor=actor)


def proposal_of(network: Network, id: str) -> ProposalView:
    """A proposal at the newest block.  Raises `NotFound` (``ProposalUnknown``)."""
    with chain_errors():
        return network.governor.proposal(id)


def made_of(row: Proposal) -> Made:
    """A proposal as the governor and the timelock know it."""
    from chain.governor import Proposal as Made
    from chain.proposals import Action

    return Made(tuple(Action.from_json(action) for action in row.actions), row.description)


def refusal_text(effect: Effect) -> str | None:
    """With which error, and which values, the contracts would refuse; None if they would not."""
    if effect.refused is None:
        return None
    told = ", ".join(f"{name}={value}" for name, value in effect.refused.values.items())
    return f"{effect.refused.error}({told})"


def is_what_it_says(network: Network, row: Proposal) -> bool:
    """Whether the calls are those, and only those, that the description tells of."""
    from chain.errors import ProposalInvalid
    from chain.proposals import matches, parse

    try:
        return matches(parse(row.description)[0], made_of(row).actions, network)
    except ProposalInvalid:
        return False


def effect_of(site: Site, network: Network, row: Proposal) -> Effect | None:
    """What a proposal would do now; None where it cannot be tried out.

    Anybody may propose code that answers what no contract of ours does: what reading it comes to
    must not keep the proposal, and the warnings of it, from those who vote.
    """
    from chain.errors import ChainUnavailable, ForkFailed

    try:
        return site.simulate(network, made_of(row).actions)
    except ChainUnavailable:
        raise
    except ForkFailed as error:
        log.info("proposal %s cannot be tried out: %s", row.id, error)
    except Exception:
        log.warning("proposal %s cannot be tried out", row.id, exc_info=True)
    return None


def _wrong_state(found: ProposalView, what: str, allowed: str) -> Conflict:
    return Conflict(
        "WrongProposalState",
        f"the proposal is {found.state}; it can be {what} while it is {allowed}",
        found=str(found.state),
        allowed=allowed,
    )


def row_of(site: Site, id: str) -> Proposal:
    """What this site has of a proposal.  Raises `NotFound` (``ProposalUnknown``)."""
    with site.store.read() as session:
        row = session.get(Proposal, id)
    if row is None:
        raise NotFound(
            "ProposalUnknown",
            "this site knows no such proposal",
            found=id,
            hint="one that was just made is known when the chain has confirmed it",
        )
    return row
