"""From what an operator asks for to the whole specification that is proposed.

The node fills in what the operator need not say (code digest, scheme, defaults of parameters, salt,
deadline, time limits) and refuses what no job may carry.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from node import refusals
from node.admission import ARBITER, dependent_arbiters, product_limit
from node.errors import Invalid, NotFound, Refused
from node.facts import FLOORS, party_view, products, use_view
from node.specification import (
    MATCHING_ONLY,
    Duplicates,
    Holdout,
    Id,
    Input,
    KeyColumns,
    Kind,
    Learner,
    Matching,
    PartyPlan,
    Psi,
    RoleName,
    Specification,
    Timeouts,
    Word,
)
from node.store import LocalDataset, LocalJob, LocalModel

if TYPE_CHECKING:
    from chain.jobs import JobProposal
    from chain.network import Network
    from ml.algorithm import Algorithm
    from node.site import Site

SCHEMES = ("lattice", "paillier")  # as installed here, fastest first
LEAST_COMMON_ROWS = 50  # fewer say too much about single persons


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputRequest(_Request):
    """A dataset version; ``grant`` is needed where the data is another member's.

    ``on`` are columns by which its rows are matched, instead of its id column.
    """

    dataset: Id
    version: int = Field(default=1, ge=1)
    grant: Id | None = None
    on: KeyColumns = ()


class PartyRequest(_Request):
    """A site, its role, and what it brings."""

    site: Id
    role: RoleName
    inputs: tuple[InputRequest, ...] = ()


class JobRequest(_Request):
    """What an operator asks for; the rest of the specification is filled in by the node.

    The first party is this site as guest.  ``label`` defaults to the label column of its dataset,
    ``holdout`` is the fraction of rows kept out of training.  A job of the kind "match" ends with
    the common rows, one of the kind "count" with their number; ``result`` says who learns it, and
    ``duplicates`` whether rows may share an id.
    """

    kind: Kind = "train"
    algorithm: str = "secureboost"
    params: dict[str, Any] = Field(default_factory=dict)
    purpose: Word | None = None
    scheme: Word = "auto"
    parties: tuple[PartyRequest, ...] = Field(min_length=2, max_length=16)
    label: str | None = None
    holdout: str | None = Field(default="0.2", pattern=r"^0(\.[0-9]{1,6})?$")
    minimum_rows: int | None = Field(default=None, ge=1)
    matching: Matching = "auto"
    result: Learner = "all"
    duplicates: Duplicates = "refuse"
    deadline_seconds: int = Field(default=3600, ge=60, le=2_592_000)
    model: Id | None = None

    @model_validator(mode="before")
    @classmethod
    def _matching_only(cls, given: Any) -> Any:
        """Such a job runs what its kind says, and holds nothing out."""
        if not isinstance(given, dict) or given.get("kind") not in MATCHING_ONLY:
            return given
        return {"algorithm": MATCHING_ONLY[given["kind"]], "holdout": None} | given


def specify(site: Site, network: Network, request: JobRequest) -> Specification:
    """The whole specification of a request; raises `Invalid`, `Refused` or `NotFound`."""
    from ml import algorithm as catalogue
    from ml.errors import UnknownAlgorithm
    from ml.protocols import psi

    try:
        chosen = catalogue.get(request.algorithm)
    except UnknownAlgorithm as error:
        raise Invalid("InvalidRequest", str(error), found=request.algorithm) from error
    if request.parties[0].site != site.id or request.parties[0].role != "guest":
        raise Refused(
            "WrongRole",
            "the first party of a proposal is the proposing site, as guest",
            found=f"{request.parties[0].role} {request.parties[0].site}",
            allowed=f"guest {site.id}",
        )
    _check_roles(chosen, request)
    _check_arbiters(network, request)
    params, label = _params(chosen.params, request), request.label
    _check_floors(network, params)
    scheme = _scheme(network, _asked_scheme(request))
    if "scheme" in params:
        params["scheme"] = scheme
    if request.kind == "predict":
        params = _model_params(site, request)
    elif request.kind == "train" and label is None:
        label = _label(site, request.parties[0])
    least = max(LEAST_COMMON_ROWS, network.consortium.minimum("min-rows"))
    try:
        return Specification(
            kind=request.kind,
            algorithm=request.algorithm,
            code_digest=catalogue.code_digest(request.algorithm),
            scheme=scheme,
            purpose=_purpose(request),
            params=params,
            parties=tuple(
                PartyPlan(
                    site=party.site,
                    role=party.role,
                    inputs=tuple(
                        Input(**entry.model_dump(exclude={"on"})) for entry in party.inputs
                    ),
                )
                for party in request.parties
            ),
            label=label,
            holdout=_holdout(request),
            psi=Psi(
                minimum_intersection=request.minimum_rows or least,
                protocol=request.matching,
                result=request.result,
                duplicates=request.duplicates,
                columns=_key_columns(request),
            ),
            deadline=network.client.head().timestamp + request.deadline_seconds,
            timeouts=Timeouts(
                step=int(site.settings.step_timeout_seconds),
                message=int(site.settings.message_timeout_seconds),
            ),
            protocols={"psi": psi.VERSION, chosen.name: chosen.version},
            model=request.model,
            nonce=str(secrets.randbits(128)),
        )
    except ValidationError as error:
        raise _invalid(error) from error


def _check_roles(chosen: Algorithm, request: JobRequest) -> None:
    """Every party plays a role of the algorithm, and brings one dataset if its role has data."""
    for party in request.parties:
        if party.role not in chosen.roles:
            raise Invalid(
                "InvalidRequest",
                f"{chosen.name} has no role {party.role}",
                found=party.role,
                allowed=[str(role) for role in chosen.roles],
            )
        expected = 0 if party.role == ARBITER else 1
        if len(party.inputs) != expected:
            raise Invalid(
                "InvalidRequest",
                f"a {party.role} brings {expected} dataset(s)",
                found=len(party.inputs),
                allowed=expected,
            )


def _check_arbiters(network: Network, request: JobRequest) -> None:
    """No arbiter belongs to the member of another party: all nodes would refuse the job."""
    arbiters = frozenset(party.site for party in request.parties if party.role == ARBITER)
    if arbiters:
        parties = tuple(party_view(network, party.site) for party in request.parties)
        for reason in dependent_arbiters(parties, arbiters):
            raise reason


def _purpose(request: JobRequest) -> str:
    """What the data is used for.  Who only matches says what for: no word fits all of them."""
    usual = {"train": "training", "predict": "prediction"}
    found = request.purpose or usual.get(request.kind)
    if found is None:
        raise Invalid(
            "InvalidRequest",
            f"a job of the kind {request.kind} names the purpose that its result is for",
            hint="name a purpose that the consortium allows and the grants have",
        )
    return found


def _key_columns(request: JobRequest) -> tuple[tuple[str, ...], ...]:
    named = tuple(
        tuple(column for entry in party.inputs for column in entry.on) for party in request.parties
    )
    return named if any(named) else ()


def _check_floors(network: Network, params: Mapping[str, Any]) -> None:
    """What the parameters say of the least rows is no less than the consortium asks for."""
    for name, minimum in FLOORS.items():
        found, least = params.get(name), network.consortium.minimum(minimum)
        if isinstance(found, int) and found < least:
            raise Refused(
                "LimitTooLow",
                f"{name} is {found}; the consortium asks for {least} or more",
                found=found,
                allowed=least,
            )


def _params(model: type[BaseModel], request: JobRequest) -> dict[str, Any]:
    """The parameters with their defaults, as the algorithm checks them."""
    try:
        checked = model.model_validate(request.params)
    except ValidationError as error:
        raise _invalid(error, "params.") from error
    return checked.model_dump(mode="json", by_alias=True)


def _model_params(site: Site, request: JobRequest) -> dict[str, Any]:
    """A prediction runs with the parameters that its model was trained with."""
    with site.store.read() as session:
        model = _model_row(session, request.model)
        training = session.get_one(LocalJob, model.job_id).specification
    assert training is not None
    params: dict[str, Any] = training["params"]
    return params


def _model_row(session: Session, model_id: str | None) -> LocalModel:
    row = session.scalar(select(LocalModel).where(LocalModel.model_id == model_id))
    if model_id is None or row is None:
        raise NotFound(
            "ModelUnknown",
            f"this site holds no part of model {model_id}",
            found=model_id,
            hint="name a model that this site trained",
        )
    return row


def _label(site: Site, guest: PartyRequest) -> str:
    with site.store.read() as session:
        for entry in guest.inputs:
            row = session.get(LocalDataset, (entry.dataset, entry.version))
            if row is not None and row.label_column is not None:
                return row.label_column
    raise Invalid(
        "InvalidRequest",
        "no label column: the guest's dataset names none",
        hint="register the dataset with its label column",
    )


def _asked_scheme(request: JobRequest) -> str:
    """The scheme that the request or its parameters ask for; raises `Invalid` if they differ."""
    named = {request.scheme, str(request.params.get("scheme", "auto"))} - {"auto"}
    if len(named) > 1:
        raise Invalid("InvalidRequest", "scheme and params.scheme differ; give one of them")
    return min(named, default="auto")


def _scheme(network: Network, asked: str) -> str:
    """The fastest scheme that is installed and admitted, or the one asked for if it is both."""
    wanted = SCHEMES if asked == "auto" else tuple(name for name in SCHEMES if name == asked)
    for scheme in wanted:
        if network.consortium.is_scheme_admitted(scheme):
            return scheme
    raise Refused(
        "SchemeNotAdmitted",
        f"scheme {asked} is not installed here and admitted by the consortium",
        found=asked,
        allowed=list(SCHEMES),
        hint=refusals.HINTS["SchemeNotAdmitted"],
    )


def _holdout(request: JobRequest) -> Holdout | None:
    if request.holdout is None or request.kind == "predict":
        return None
    # The salt is part of the agreement: all parties hold out the same rows.  The proposer draws it,
    # and could draw again until the rows suit it.
    return Holdout(fraction=request.holdout, salt=fresh_salt())


def fresh_salt() -> str:
    """32 random bytes, 0x-hex."""
    return "0x" + secrets.token_hex(32)


def check_budgets(network: Network, specification: Specification) -> None:
    """No grant is asked for more products than it allows in all; what is left its holder knows."""
    from chain.jobs import JobUse

    needed = products(specification)
    for position, party in enumerate(specification.parties):
        for entry in party.inputs:
            if entry.grant is None or not needed:
                continue
            use = use_view(network, JobUse(position, entry.dataset, entry.version, entry.grant))
            limit = needed if use.grant is None else product_limit(use.grant, use)
            if needed > limit:
                raise Refused(
                    "ProductBudgetExceeded",
                    f"the job may ask for {needed} products; grant {entry.grant} allows {limit}",
                    found=needed,
                    allowed=limit,
                    hint="ask for a larger product budget, or train fewer or shallower trees",
                )


def to_proposal(specification: Specification) -> JobProposal:
    """What the chain is asked to record of it."""
    from chain.jobs import JobParty as ChainParty
    from chain.jobs import JobProposal, JobUse

    return JobProposal(
        specification=specification.digest,
        algorithm=specification.code_digest,
        purpose=specification.purpose,
        deadline=specification.deadline,
        parties=tuple(ChainParty(party.site, party.role) for party in specification.parties),
        uses=tuple(
            JobUse(position, entry.dataset, entry.version, entry.grant)
            for position, party in enumerate(specification.parties)
            for entry in party.inputs
        ),
        nonce=int(specification.nonce),
    )


def _invalid(error: ValidationError, prefix: str = "") -> Invalid:
    lines = error.errors(include_url=False, include_input=False, include_context=False)
    told = [f"{prefix}{'.'.join(map(str, line['loc']))}: {line['msg']}" for line in lines]
    return Invalid("InvalidRequest", "; ".join(told[:5]))
