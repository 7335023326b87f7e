"""Refusals of the contracts and failures of the protocols, as a node's stable codes.

``REASONS`` is the one table: the name of a Solidity error → the code that operators, partners and
the audit log see.  Errors of `ml` keep their class name as code; their texts name columns, counts
and positions, never a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from node.errors import (
    Conflict,
    Failed,
    Invalid,
    NodeError,
    NotFound,
    Refused,
    Unauthenticated,
    Unavailable,
)

if TYPE_CHECKING:
    from chain.errors import ContractRefused

REASONS: dict[str, tuple[type[NodeError], str]] = {
    # Consortium
    "ConsortiumNotAuthority": (Refused, "NotAuthority"),
    "ConsortiumUnknownContract": (NotFound, "NotDeployed"),
    "ConsortiumZeroAddress": (Invalid, "InvalidRequest"),
    "ConsortiumAlgorithmNotAllowed": (Refused, "AlgorithmNotAllowed"),
    "ConsortiumAlgorithmAlreadyAllowed": (Conflict, "Conflict"),
    "ConsortiumSchemeNotAdmitted": (Refused, "SchemeNotAdmitted"),
    "ConsortiumPurposeNotAllowed": (Refused, "PurposeNotAllowed"),
    "ConsortiumCodeMismatch": (Refused, "CodeMismatch"),
    "ConsortiumUpgradeNotNamed": (Refused, "NotAuthority"),
    # Membership
    "MembershipAccountTaken": (Conflict, "Conflict"),
    "MembershipIdTaken": (Conflict, "Conflict"),
    "MembershipUnknown": (Refused, "MemberNotActive"),
    "MembershipNotActive": (Refused, "MemberNotActive"),
    "MembershipNotSuspended": (Conflict, "Conflict"),
    "MembershipNotAMember": (Refused, "MemberNotActive"),
    "MembershipSoulbound": (Refused, "Soulbound"),
    "MembershipNotAccepted": (Unauthenticated, "SignatureInvalid"),
    "MembershipAccountReplaced": (Refused, "MemberNotActive"),
    "MembershipTooFew": (Refused, "TooFewMembers"),
    "MembershipNotBreakGlass": (Refused, "NotOperator"),
    "MembershipLeavingLater": (Conflict, "Conflict"),
    # ConsortiumGovernor
    "GovernorQuorumMinimumTooHigh": (Invalid, "InvalidRequest"),
    "GovernorThresholdIsOne": (Invalid, "InvalidRequest"),
    "GovernorVoterNotActive": (Refused, "MemberNotActive"),
    # Reviews
    "ReviewsTaken": (Conflict, "Conflict"),
    "ReviewsNotSubmitted": (NotFound, "ReviewMissing"),
    "ReviewsTooFew": (Refused, "ReviewMissing"),
    "ReviewsTooMany": (Invalid, "InvalidRequest"),
    "ReviewsNameTooLong": (Invalid, "InvalidRequest"),
    "ReviewsPersonTaken": (Conflict, "Conflict"),
    "ReviewsNotAppointed": (Refused, "PersonNotAppointed"),
    "ReviewsNotDismissable": (Refused, "NotOwner"),
    "ReviewsBadSignature": (Unauthenticated, "SignatureInvalid"),
    # Attestations
    "AttestationMissing": (Refused, "AttestationMissing"),
    "AttestationNotIssuer": (Refused, "NotIssuer"),
    "AttestationIssuerTaken": (Conflict, "Conflict"),
    "AttestationIssuerUnknown": (NotFound, "NotIssuer"),
    "AttestationOwnIssuer": (Refused, "NotIssuer"),
    "AttestationExpired": (Invalid, "InvalidRequest"),
    "AttestationTooManyIssuers": (Invalid, "InvalidRequest"),
    "AttestationTooManyKinds": (Invalid, "InvalidRequest"),
    "AttestationZero": (Invalid, "InvalidRequest"),
    # Disputes
    "DisputeUnknown": (NotFound, "NotFound"),
    "DisputeTaken": (Conflict, "Conflict"),
    "DisputeWithOneself": (Invalid, "InvalidRequest"),
    "DisputeNotClaimant": (Refused, "NotOwner"),
    "DisputeNotRespondent": (Refused, "NotOwner"),
    "DisputeAlreadyAnswered": (Conflict, "Conflict"),
    "DisputeEnded": (Conflict, "Conflict"),
    "DisputeBadRuling": (Invalid, "InvalidRequest"),
    # Brake
    "BrakePulled": (Refused, "ConsortiumPaused"),
    "BrakeNotPulled": (Conflict, "Conflict"),
    "BrakeResting": (Conflict, "Conflict"),
    # BreakGlass
    "BreakGlassUnknown": (NotFound, "NotFound"),
    "BreakGlassSamePerson": (Refused, "PersonNotAppointed"),
    "BreakGlassNotAppointed": (Refused, "PersonNotAppointed"),
    "BreakGlassBadSignature": (Unauthenticated, "SignatureInvalid"),
    "BreakGlassTooLong": (Invalid, "InvalidRequest"),
    "BreakGlassAlreadyReviewed": (Conflict, "Conflict"),
    "BreakGlassAlreadyLapsed": (Conflict, "Conflict"),
    "BreakGlassNotOverdue": (Conflict, "Conflict"),
    "BreakGlassOwing": (Conflict, "Conflict"),
    # SiteRegistry
    "SiteUnknown": (NotFound, "UnknownSite"),
    "SiteTaken": (Conflict, "Conflict"),
    "SiteRetired": (Refused, "SiteNotActive"),
    "SiteNotOperator": (Refused, "NotOperator"),
    "SiteNotOwner": (Refused, "NotOwner"),
    "SiteNotMembership": (Refused, "NotOperator"),
    "SiteOperatorTaken": (Conflict, "Conflict"),
    "SiteOperatorNotAgreed": (Refused, "NotOperator"),
    "SiteKeyUnknown": (Refused, "KeyRevoked"),
    "SiteKeyTaken": (Conflict, "Conflict"),
    "SiteKeyRevoked": (Refused, "KeyRevoked"),
    "SiteKeyTooLong": (Invalid, "InvalidRequest"),
    "SiteProofTooLong": (Invalid, "InvalidRequest"),
    "SiteNameTooLong": (Invalid, "InvalidRequest"),
    "SiteEndpointTooLong": (Invalid, "InvalidRequest"),
    "SiteBadRoles": (Invalid, "InvalidRequest"),
    "SiteTooManyKeys": (Invalid, "InvalidRequest"),
    "SiteBadAnchorKey": (Unauthenticated, "SignatureInvalid"),
    "SiteAnchorKeyTaken": (Conflict, "Conflict"),
    # DatasetRegistry
    "DatasetUnknown": (NotFound, "DatasetUnknown"),
    "DatasetTaken": (Conflict, "Conflict"),
    "DatasetNotOwner": (Refused, "NotOwner"),
    "DatasetVersionUnknown": (NotFound, "DatasetUnknown"),
    "DatasetVersionWithdrawn": (Refused, "DatasetWithdrawn"),
    "DatasetEmpty": (Invalid, "InvalidRequest"),
    "DatasetNameTooLong": (Invalid, "InvalidRequest"),
    # ConsentRegistry
    "ConsentUnknown": (Refused, "GrantMissing"),
    "ConsentTaken": (Conflict, "Conflict"),
    "ConsentBadSignature": (Unauthenticated, "SignatureInvalid"),
    "ConsentNotOwner": (Refused, "NotOwner"),
    "ConsentRevoked": (Refused, "GrantRevoked"),
    "ConsentAmended": (Refused, "GrantAmended"),
    "ConsentExpired": (Refused, "GrantExpired"),
    "ConsentUsedUp": (Refused, "GrantUsedUp"),
    "ConsentWrongDataset": (Refused, "GrantWrongDataset"),
    "ConsentWrongVersion": (Refused, "GrantWrongVersion"),
    "ConsentWrongGrantee": (Refused, "GrantWrongGrantee"),
    "ConsentWrongPurpose": (Refused, "GrantWrongPurpose"),
    "ConsentWrongAlgorithm": (Refused, "GrantWrongAlgorithm"),
    "ConsentTooFewParties": (Refused, "GrantTooFewParties"),
    "ConsentNotJobs": (Refused, "NotOperator"),
    "ConsentNotBreakGlass": (Refused, "NotOperator"),
    "ConsentBadTerms": (Invalid, "InvalidRequest"),
    # JobRegistry
    "JobUnknown": (NotFound, "NotFound"),
    "JobTaken": (Conflict, "Conflict"),
    "JobWrongSpecification": (Refused, "SpecificationMismatch"),
    "JobWrongState": (Conflict, "Conflict"),
    "JobNotParty": (Refused, "NotAParty"),
    "JobNotProposer": (Refused, "WrongRole"),
    "JobAlreadyApproved": (Conflict, "Conflict"),
    "JobAlreadyAttested": (Conflict, "Conflict"),
    "JobTooManyParties": (Invalid, "InvalidRequest"),
    "JobTooManyUses": (Invalid, "InvalidRequest"),
    "JobDuplicateParty": (Invalid, "InvalidRequest"),
    "JobBadParties": (Invalid, "InvalidRequest"),
    "JobUseNotHeld": (Invalid, "DatasetNotHeld"),
    "JobGrantMissing": (Refused, "GrantMissing"),
    "JobUnexpectedGrant": (Invalid, "InvalidRequest"),
    "JobDeadlinePassed": (Conflict, "DeadlinePassed"),
    "JobDeadlineNotPassed": (Conflict, "Conflict"),
    "JobDeadlineTooFar": (Invalid, "InvalidRequest"),
    # ModelRegistry
    "ModelUnknown": (NotFound, "NotFound"),
    "ModelTaken": (Conflict, "Conflict"),
    "ModelJobNotSucceeded": (Conflict, "Conflict"),
    "ModelNotParty": (Refused, "NotAParty"),
    "ModelNotRegistrar": (Refused, "NotAParty"),
    "ModelTooManyParents": (Invalid, "InvalidRequest"),
    "ModelEnded": (Refused, "ModelWithdrawn"),
    # AuditAnchor
    "AnchorNotGrowing": (Conflict, "Conflict"),
    "AnchorInconsistent": (Conflict, "AnchorInconsistent"),
    "AnchorUnknown": (NotFound, "NotFound"),
    "AnchorNotSites": (Refused, "NotOperator"),
    "AnchorProofTooLong": (Invalid, "InvalidRequest"),
    "AnchorNotARegistry": (Refused, "NotOperator"),
    "AnchorTooManyCosignatures": (Invalid, "InvalidRequest"),
    "AnchorNothingCounted": (Conflict, "Conflict"),
    # Equivocations
    "EquivocationNotSigned": (Unauthenticated, "SignatureInvalid"),
    "EquivocationNone": (Conflict, "Conflict"),
    "EquivocationMarkedAlready": (Conflict, "Conflict"),
    "ChallengeUnknown": (NotFound, "NotFound"),
    "ChallengeTaken": (Conflict, "Conflict"),
    "ChallengeAnchored": (Conflict, "Conflict"),
    "ChallengeTooMany": (Conflict, "Conflict"),
    "ChallengeInconsistent": (Conflict, "AnchorInconsistent"),
    "ChallengeAlreadyAnswered": (Conflict, "Conflict"),
    "ChallengeNotOverdue": (Conflict, "Conflict"),
    # AuditRequests
    "AuditRequestUnknown": (NotFound, "NotFound"),
    "AuditRequestTaken": (Conflict, "Conflict"),
    "AuditRequestNotAuditor": (Refused, "WrongRole"),
    "AuditRequestOwnSite": (Invalid, "InvalidRequest"),
    "AuditRequestNotOperator": (Refused, "NotOperator"),
    "AuditRequestAlreadyAnswered": (Conflict, "Conflict"),
    "AuditRequestTooMany": (Conflict, "Conflict"),
    "AuditRequestZero": (Invalid, "InvalidRequest"),
}

STANDARD: dict[str, tuple[type[NodeError], str]] = {
    # The governor's and the timelock's, which no interface of ours declares
    "GovernorTooManyProposals": (Conflict, "Conflict"),
    "GovernorProposalTooLong": (Invalid, "InvalidRequest"),
    "GovernorAlreadyCastVote": (Conflict, "AlreadyVoted"),
    "GovernorInsufficientProposerVotes": (Refused, "NotAVoter"),
    "GovernorInvalidProposalLength": (Invalid, "InvalidRequest"),
    "GovernorInvalidSignature": (Unauthenticated, "SignatureInvalid"),
    "GovernorInvalidVoteType": (Invalid, "InvalidRequest"),
    "GovernorInvalidVotingPeriod": (Invalid, "InvalidRequest"),
    "GovernorNonexistentProposal": (NotFound, "ProposalUnknown"),
    "GovernorNotQueuedProposal": (Conflict, "WrongProposalState"),
    "GovernorOnlyExecutor": (Refused, "NotAuthority"),
    "GovernorRestrictedProposer": (Refused, "NotProposer"),
    "GovernorUnableToCancel": (Refused, "NotProposer"),
    "GovernorUnexpectedProposalState": (Conflict, "WrongProposalState"),
    "TimelockUnauthorizedCaller": (Refused, "NotAuthority"),
    "TimelockUnexpectedOperationState": (Conflict, "WrongProposalState"),
}

HINTS = {
    "GrantMissing": "ask the data's owner for a grant and name it in the job",
    "GrantExpired": "ask the data's owner for a new grant",
    "GrantUsedUp": "ask the data's owner for a grant with more uses",
    "GrantRevoked": "the owner withdrew its consent; nothing may be computed with the data",
    "AlgorithmNotAllowed": "the consortium must allow this code digest first",
    "PurposeNotAllowed": "take a purpose that the consortium allows, or propose this one",
    "AttestationMissing": "an issuer that the consortium named must attest this of the member",
    "ConsortiumPaused": "members pulled the brake; it ends by itself, or by vote",
    "SchemeNotAdmitted": "take a scheme that the consortium admits",
    "MemberNotActive": "the institution must be an active member of the consortium",
    "KeyRevoked": "the site must register a valid request key",
}


def from_contract(refusal: ContractRefused) -> NodeError:
    """The refusal of a contract as a problem: same reason, the values it gave as ``found``."""
    reasons = REASONS | STANDARD
    kind, code = reasons.get(refusal.error, (Conflict, "ContractRefused"))
    return kind(code, str(refusal), found=refusal.values or None, hint=HINTS.get(code))


def from_error(error: BaseException) -> NodeError:
    """Any failure as a code and a sentence that may be shown and logged.

    Errors of `node`, `chain` and `ml` say what happened without secrets or rows; of all others only
    the type is told, since their text may quote a value.
    """
    if isinstance(error, NodeError):
        return error
    from chain import errors as chain_errors

    if isinstance(error, chain_errors.ContractRefused):
        return from_contract(error)
    if isinstance(error, chain_errors.ChainUnavailable):
        return Unavailable("ChainUnavailable", str(error))
    if isinstance(error, chain_errors.ChainError):
        return Failed(type(error).__name__, str(error))
    return _from_protocol(error) or Failed(
        "InternalError", f"{type(error).__name__} in the step; the node's own log has the place"
    )


@contextmanager
def chain_errors() -> Iterator[None]:
    """Errors of the chain as problems of the node."""
    from chain.errors import ChainError

    try:
        yield
    except ChainError as error:
        raise from_error(error) from error


def _from_protocol(error: BaseException) -> NodeError | None:
    """An error of `ml` by its class name; told by its module, so that `ml` is not imported."""
    if not any(base.__module__ == "ml.errors" for base in type(error).__mro__):
        return None
    return Failed(type(error).__name__, str(error))


def word(code: str) -> str:
    """A code as the reason that the chain stores: ASCII, at most 31 characters."""
    return code.encode("ascii", "replace").decode()[:31]
