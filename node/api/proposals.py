"""/v1/proposals: what the members are asked, what it would do, and their votes.

Reading is for everybody who is signed in; proposing, voting and carrying on is for delegates.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ConfigDict, Field

from node import governance
from node.api.accepted import Accepted, Wait, accepted
from node.api.auth import require
from node.api.operator import OperatorRoute
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import proposals
from node.api.views.model import Asked, IdInPath
from node.api.views.proposals import (
    KindShown,
    PreviewShown,
    ProposalShown,
    ProposalSummary,
    State,
)
from node.errors import Conflict
from node.store import Vote
from node.submission import Submitted

router = APIRouter(prefix="/proposals", tags=["governance"], route_class=OperatorRoute)

ADDRESS = r"^0x[0-9a-fA-F]{40}$"
Support = Literal["for", "against", "abstain"]
Voter = Annotated[str, Field(pattern=ADDRESS, description="The voter's account.")]
Reason = Annotated[
    str,
    Field(
        max_length=governance.MAX_REASON,
        description="Stands on the chain, readable by everybody, for ever.",
    ),
]
delegate = [Depends(require("delegate"))]


class ProposalAsked(Asked):
    """`kind` and `params` as `GET /v1/proposals/kinds` describes them.

    Where a member or a code digest is asked for, a unique name does as well.
    """

    kind: str = Field(min_length=1, max_length=40)
    params: dict[str, Any] = Field(default_factory=dict)
    title: str = Field(min_length=1, max_length=200)
    body: str = Field("", max_length=20_000)
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [
                {
                    "kind": "set-minimum",
                    "params": {"name": "min-rows", "value": 100},
                    "title": "At least 100 common rows",
                    "body": "50 rows are too few for the small hospitals.",
                }
            ]
        },
    )

    def request(self) -> governance.ProposalRequest:
        return governance.ProposalRequest(self.kind, self.params, self.title, self.body)


class NewProposal(ProposalAsked):
    force: bool = Field(False, description="Propose it although it would fail if executed now.")


class NewVote(Asked):
    support: Support
    reason: Reason = ""


class SignedBallot(Asked):
    """A vote that its voter signed: the typed data of `GET /v1/proposals/{id}/ballot`."""

    voter: Voter
    support: Support
    reason: Reason = ""
    signature: str = Field(
        pattern=r"^0x([0-9a-fA-F]{2}){1,8192}$",
        description="65 bytes of a key, or what a contract account (ERC-1271) takes.",
    )


@router.get("", summary="Proposals, newest first")
def list_proposals(
    request: Request,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    state: State | None = None,
) -> Page[ProposalSummary]:
    app = request.app.state
    return proposals.page(app.site, app.names, limit=limit, cursor=cursor, state=state)


@router.get("/kinds", summary="What can be proposed, with JSON schemas of the parameters")
def list_kinds() -> list[KindShown]:
    return proposals.kinds()


@router.post("/preview", summary="What a proposal would do; nothing is made", dependencies=delegate)
def preview_proposal(request: Request, body: ProposalAsked) -> PreviewShown:
    site = request.app.state.site
    made = governance.preview(site, body.request())
    return proposals.preview(site.network(), made)


@router.post("", status_code=202, summary="Put a proposal to the members", dependencies=delegate)
async def make_proposal(
    request: Request, response: Response, body: NewProposal, wait: Wait = 0
) -> Accepted:
    def make() -> Submitted:
        return governance.propose(request.app.state.site, body.request(), force=body.force)

    return await accepted(request, response, await run_sync(make), wait)


@router.get("/{id}", summary="One proposal: effect, votes, timeline, what may be done")
def show_proposal(request: Request, id: IdInPath) -> ProposalShown:
    return proposals.show(request.app.state.site, request.app.state.names, id)


@router.post(
    "/{id}/votes", status_code=202, summary="Vote with this site's account", dependencies=delegate
)
async def cast_vote(
    request: Request, response: Response, id: IdInPath, body: NewVote, wait: Wait = 0
) -> Accepted:
    def vote() -> Submitted:
        return governance.vote(request.app.state.site, id, body.support, body.reason)

    return await accepted(request, response, await run_sync(vote), wait)


@router.get("/{id}/ballot", summary="EIP-712 typed data of a vote, for a wallet")
def show_ballot(
    request: Request,
    id: IdInPath,
    voter: Annotated[str, Query(pattern=ADDRESS, description="The account that will sign.")],
    support: Support,
    reason: Annotated[str, Query(max_length=governance.MAX_REASON)] = "",
) -> dict[str, Any]:
    return governance.ballot(request.app.state.site, id, voter, support, reason)


@router.post(
    "/{id}/ballots",
    status_code=202,
    summary="Relay a vote that its voter signed elsewhere",
    dependencies=delegate,
)
async def relay_ballot(
    request: Request, response: Response, id: IdInPath, body: SignedBallot, wait: Wait = 0
) -> Accepted:
    """The same ballot again gets the first's answer, also when another node relayed it."""
    site = request.app.state.site
    signed = governance.Ballot(**body.model_dump())
    made = await run_sync(governance.relay, site, id, signed)
    if isinstance(made, Submitted):
        try:
            return await accepted(request, response, made, wait)
        except Conflict:  # another node may have been faster with the same ballot
            cast = await run_sync(governance.same_vote, site, id, signed)
            if cast is None:
                raise
            made = cast
    return _counted(response, made)


@router.post("/{id}/withdraw", status_code=202, summary="Withdraw one's own", dependencies=delegate)
async def withdraw_proposal(
    request: Request, response: Response, id: IdInPath, wait: Wait = 0
) -> Accepted:
    submitted = await run_sync(governance.withdraw, request.app.state.site, id)
    return await accepted(request, response, submitted, wait)


@router.post("/{id}/queue", status_code=202, summary="Queue what has passed", dependencies=delegate)
async def queue_proposal(
    request: Request, response: Response, id: IdInPath, wait: Wait = 0
) -> Accepted:
    submitted = await run_sync(governance.queue, request.app.state.site, id)
    return await accepted(request, response, submitted, wait)


@router.post(
    "/{id}/execute",
    status_code=202,
    summary="Execute what has waited in the timelock",
    dependencies=delegate,
)
async def execute_proposal(
    request: Request, response: Response, id: IdInPath, wait: Wait = 0
) -> Accepted:
    submitted = await run_sync(governance.execute, request.app.state.site, id)
    return await accepted(request, response, submitted, wait)


def _counted(response: Response, vote: Vote) -> Accepted:
    response.status_code = 200
    return Accepted(
        id=vote.proposal_id,
        state="CONFIRMED",
        transaction=None,
        tx_hash=vote.tx_hash,
        block=vote.block,
    )
