"""The history of governance: whatever changed members, rules, contracts or rights, as one list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, get_args

from sqlalchemy.orm import Session

from chain.errors import ChainError
from node.api.views.events import newest_of
from node.errors import NodeError
from node.store import ChainEvent

if TYPE_CHECKING:
    from node.site import Site

Area = Literal["members", "votes", "rules", "code", "emergencies", "disputes"]
AREAS: tuple[Area, ...] = get_args(Area)

EVENTS: Mapping[Area, Mapping[str, tuple[str, ...]]] = {
    "members": {
        "Membership": (
            "MemberAdmitted",
            "MemberSuspended",
            "MemberReinstated",
            "MemberExpelled",
            "MemberLeaving",
            "MemberLeft",
            "MemberRecovered",
        ),
    },
    "votes": {
        "ConsortiumGovernor": (
            "ProposalCreated",
            "ProposalCanceled",
            "ProposalWithdrawn",
            "ProposalQueued",
            "ProposalExecuted",
            "ProposalExtended",
            "VoteCast",
            "VoteCastWithParams",
        ),
    },
    "rules": {
        "Consortium": (
            "ConstitutionChanged",
            "SchemeAdmitted",
            "SchemeWithdrawn",
            "MinimumSet",
            "PurposeAllowed",
            "PurposeWithdrawn",
            "AuthorityMoved",
        ),
        "ConsortiumGovernor": (
            "VotingDelaySet",
            "VotingPeriodSet",
            "LateQuorumVoteExtensionSet",
            "ProposalThresholdSet",
            "QuorumMinimumSet",
            "TimelockChange",
        ),
        "TimelockController": (
            "MinDelayChange",
            "RoleAdminChanged",
            "RoleGranted",
            "RoleRevoked",
            "CallScheduled",
            "CallExecuted",
            "Cancelled",
        ),
        "Attestations": (
            "AttestationIssuerNamed",
            "AttestationIssuerRemoved",
            "AttestationRequirementSet",
        ),
    },
    "code": {
        "Consortium": (
            "ContractSet",
            "ContractUpgraded",
            "AlgorithmAllowed",
            "AlgorithmForbidden",
            "Upgraded",
        ),
        "Reviews": (
            "CodeSubmitted",
            "CodeReviewed",
            "PersonAppointed",
            "PersonDismissed",
        ),
    },
    "emergencies": {
        "Brake": ("BrakeVoiced", "BrakePaused", "BrakeReleased"),
        "BreakGlass": ("BreakGlassOpened", "BreakGlassReviewed", "BreakGlassLapsed"),
    },
    "disputes": {
        "Disputes": ("DisputeOpened", "DisputeAnswer", "DisputeWithdrawal", "DisputeRuling"),
    },
}
"""Area → contract → its events that are of governance."""

_AREA_OF: Mapping[tuple[str, str], Area] = {
    (contract, name): area
    for area, contracts in EVENTS.items()
    for contract, names in contracts.items()
    for name in names
}


def area_of(event: ChainEvent) -> Area:
    return _AREA_OF[event.contract, event.name]


def newest(
    session: Session, *, area: Area | None, limit: int, below: int | None = None
) -> list[ChainEvent]:
    """The newest events of governance below a row's number; of every area, or of one."""
    kinds = [kind for kind, of in _AREA_OF.items() if area in (None, of)]
    return newest_of(session, kinds, limit=limit, below=below)


def times(site: Site, blocks: Iterator[int]) -> Mapping[int, int]:
    """When blocks were made, in Unix seconds; fewer where the chain stops answering."""
    found: dict[int, int] = {}
    try:
        head = site.network().client.head()
        for block in blocks:
            found[block] = site.block_times.at(block, head)
    except (ChainError, NodeError):
        return found  # a list without times is better than no list
    return found
