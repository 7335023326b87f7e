"""What admission decides on, read from the chain at two blocks and from this site's database.

The confirmed block is where permissions count, the head is where withdrawals count; `gather` reads
the same things at both.  What the chain does not know becomes a fact ("NONE", "UNKNOWN"), what it
does not answer becomes ``chain_problem`` and what it refuses to be asked ``chain_refusal``:
`node.admission.decide` refuses all of them, and only silence lets running work wait.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlalchemy import select

from chain import canonical
from chain.ids import ZERO_ID
from node import policy, refusals
from node.admission import (
    ChainView,
    Facts,
    GrantView,
    JobView,
    LocalData,
    ModelView,
    Moment,
    PartyView,
    Privacy,
    UseView,
)
from node.errors import NodeError
from node.specification import Specification
from node.store import Approval, Budget, GrantTerms, LocalDataset, LocalJob, LocalModel

if TYPE_CHECKING:
    from chain.jobs import Job, JobParty, JobUse
    from chain.network import Network
    from node.site import Site

FLOORS = {"min_bin_rows": "min-bin-rows", "min_samples_leaf": "min-samples-leaf"}
"""Parameter of an algorithm → the consortium's minimum for it."""


def gather(
    site: Site, job_id: str, moment: Moment, *, ask_policy: bool = True, running: bool = False
) -> Facts:
    """The facts about a job here and now; never raises for what the chain does not tell.

    The operator's policy is asked only where the chain answered.  Of work that is ``running`` the
    head alone is read, since its permissions were confirmed before it began, and the policy is not
    asked: what it said then stands.
    """
    from chain.errors import BlockUnknown, ChainError, ChainUnavailable

    specification = stored_specification(site, job_id)
    views: tuple[ChainView, ...] = ()
    problem, refusal, silent = None, None, 0.0
    try:
        network = site.network()
        head = network.client.head()
        silent = max(0.0, time.time() - head.timestamp)
        confirmed = max(0, head.number - site.settings.confirmations)
        alone = running or confirmed == head.number
        numbers = (head.number,) if alone else (confirmed, head.number)
        views = tuple(
            view(network, number, job_id, specification, moment=moment) for number in numbers
        )
    except (ChainUnavailable, BlockUnknown) as error:
        problem = str(error)
    except ChainError as error:
        # An answer that cannot be read may hide a withdrawal, however long one waits.
        refusal = refusals.from_error(error)
    facts = Facts(
        moment=moment,
        me=site.id,
        job_id=job_id,
        views=views,
        chain_problem=problem,
        chain_refusal=refusal,
        silent_seconds=silent,
        staleness_seconds=site.settings.staleness_seconds,
        specification=specification,
        code_digest=code_digest(specification),
        roles=roles(specification),
        key_bits=whole_param(specification, "key_bits"),
        bin_rows=whole_param(specification, "min_bin_rows"),
        leaf_rows=whole_param(specification, "min_samples_leaf"),
        # Charged as they are answered once the job runs: nothing to foresee then.
        products=0 if moment == "task" else products(specification),
        data=local_data(site),
        has_model=_has_model(site, specification),
        spent=spent(site),
        approved=approved(site, job_id),
        privacy=Privacy(
            min_rows=site.settings.privacy_min_rows,
            withheld=frozenset(site.settings.privacy_withheld_columns),
        ),
        column_rules=column_rules(site, views),
    )
    if running or not ask_policy or not views:
        return facts
    return dataclasses.replace(facts, policy=policy.ask(site.settings, facts))


def stored_specification(site: Site, job_id: str) -> Specification | None:
    """The specification that this site holds of a job."""
    with site.store.read() as session:
        job = session.get(LocalJob, job_id)
        document = None if job is None else job.specification
    return None if document is None else Specification.model_validate(document)


def code_digest(specification: Specification | None) -> str | None:
    """Of the algorithm as it is installed here; None where it is not."""
    if specification is None:
        return None
    from ml import algorithm
    from ml.errors import UnknownAlgorithm

    try:
        return algorithm.code_digest(specification.algorithm)
    except UnknownAlgorithm:
        return None


def roles(specification: Specification | None) -> tuple[str, ...]:
    """Of the algorithm as it is installed here; none where it is not."""
    if specification is None:
        return ()
    from ml import algorithm
    from ml.errors import UnknownAlgorithm

    try:
        return tuple(str(role) for role in algorithm.get(specification.algorithm).roles)
    except UnknownAlgorithm:
        return ()


def whole_param(specification: Specification | None, name: str) -> int | None:
    """A whole number among the parameters (key_bits, say); None where they do not speak of it."""
    found = None if specification is None else specification.params.get(name)
    return found if type(found) is int else None


def schemes(specification: Specification | None) -> tuple[str, ...]:
    """The scheme a job names and the one its parameters run, which must both be admitted."""
    if specification is None:
        return ()
    from ml import algorithm
    from ml.crypto.products import SCHEMES
    from ml.errors import UnknownAlgorithm

    try:
        known = algorithm.get(specification.algorithm).params.model_fields
    except UnknownAlgorithm:
        known = {}
    default = known["scheme"].default if "scheme" in known else None
    run = specification.params.get("scheme", default) if specification.kind == "train" else None
    # Any other name the algorithm refuses by itself.
    return tuple(sorted({specification.scheme, *(name for name in SCHEMES if name == run)}))


def products(specification: Specification | None) -> int:
    """The most vectors that a host will be asked for; 0 where the algorithm asks for none."""
    if specification is None or specification.kind != "train":
        return 0
    from ml import algorithm
    from ml.errors import UnknownAlgorithm

    try:
        params = algorithm.get(specification.algorithm).params
    except UnknownAlgorithm:
        return 0
    found = getattr(params.model_validate(specification.params), "vectors", 0)
    return found if isinstance(found, int) else 0


def local_data(site: Site) -> tuple[LocalData, ...]:
    """The dataset versions that lie here."""
    with site.store.read() as session:
        return tuple(
            LocalData(
                row.id,
                row.version,
                row.schema_digest,
                row.rows_root,
                rows=row.rows,
                id_column=row.id_column,
                label_column=row.label_column,
                features=tuple(feature["name"] for feature in row.schema["features"]),
            )
            for row in session.scalars(select(LocalDataset))
        )


def spent(site: Site) -> dict[str, int]:
    """Products answered so far, by grant."""
    with site.store.read() as session:
        return {row.grant_id: row.spent for row in session.scalars(select(Budget))}


def approved(site: Site, job_id: str) -> str | None:
    """The digest of the specification that somebody, or a rule, approved here."""
    with site.store.read() as session:
        return session.scalar(select(Approval.specification).where(Approval.job_id == job_id))


def column_rules(site: Site, views: tuple[ChainView, ...]) -> dict[str, dict[str, str]]:
    """Grant → document about columns, of the job's grants whose document is kept here."""
    wanted = {
        use.grant.id: use.grant.column_rules
        for view in views
        for use in view.uses
        if use.grant is not None and use.grant.column_rules != ZERO_ID
    }
    return kept_rules(site, wanted)


def kept_rules(site: Site, wanted: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Grant → the document that is kept here and has the digest which is wanted."""
    with site.store.read() as session:
        rows = session.scalars(select(GrantTerms).where(GrantTerms.grant_id.in_(wanted)))
        return {
            row.grant_id: dict(row.column_rules)
            for row in rows
            if canonical.digest_of(row.column_rules) == wanted[row.grant_id]
        }


def _has_model(site: Site, specification: Specification | None) -> bool:
    if specification is None or specification.model is None:
        return True
    query = select(LocalModel.job_id).where(LocalModel.model_id == specification.model)
    with site.store.read() as session:
        return session.scalar(query) is not None


# ── One block ────────────────────────────────────────────────────────────────────────────────


def view(
    network: Network,
    number: int,
    job_id: str,
    specification: Specification | None,
    *,
    moment: Moment = "task",
) -> ChainView:
    """All that a decision needs of block ``number``.  Raises ChainError when it is not answered."""
    from chain.errors import ContractRefused

    chain = network.at(number)
    block_time = network.client.block(number).timestamp
    try:
        job = chain.jobs.job(job_id)
    except ContractRefused:
        return ChainView(number, block_time, None)
    parties, uses = chain.jobs.parties(job_id), chain.jobs.uses(job_id)
    return ChainView(
        block=number,
        time=block_time,
        job=_job_view(chain, job, parties, uses),
        algorithm_allowed=chain.consortium.is_algorithm_allowed(job.algorithm),
        purpose_allowed=chain.consortium.is_purpose_allowed(job.purpose),
        scheme_admitted=all(map(chain.consortium.is_scheme_admitted, schemes(specification))),
        minimum_key_bits=chain.consortium.minimum("key-bits"),
        minimum_rows=chain.consortium.minimum("min-rows"),
        minimum_bin_rows=chain.consortium.minimum(FLOORS["min_bin_rows"]),
        minimum_leaf_rows=chain.consortium.minimum(FLOORS["min_samples_leaf"]),
        paused_until=chain.brake.paused_until(),
        parties=tuple(party_view(chain, party.site) for party in parties),
        uses=tuple(use_view(chain, use) for use in uses),
        model=_model_view(chain, specification),
        refusal=_refusal(chain, job_id) if moment != "approve" else None,
    )


def _job_view(
    chain: Network, job: Job, parties: tuple[JobParty, ...], uses: tuple[JobUse, ...]
) -> JobView:
    return JobView(
        state=str(chain.jobs.state(job.id)),
        specification=job.specification,
        algorithm=job.algorithm,
        purpose=job.purpose,
        deadline=job.deadline,
        member=job.member,
        parties=tuple((party.site, party.role) for party in parties),
        uses=tuple((use.party, use.dataset_id, use.version, use.grant) for use in uses),
    )


def party_view(chain: Network, site_id: str) -> PartyView:
    """A site's standing as ``chain`` has it."""
    from chain.errors import ContractRefused

    try:
        site = chain.sites.site(site_id)
    except ContractRefused:
        return PartyView(site_id, "", "NONE", exists=False)
    standing, stands = str(chain.membership.standing(site.member)), site.until_block == 0
    # The registry's own word: a list of keys can be made too long to be read.
    lacks_key = standing == "ACTIVE" and stands and not chain.sites.is_active(site_id)
    return PartyView(
        site=site_id,
        member=site.member,
        member_standing=standing,
        stands=stands,
        has_request_key=not lacks_key,
        missing_attestation=_missing_attestation(chain, site.member),
    )


def _missing_attestation(chain: Network, member: str) -> str | None:
    """The first kind that the consortium asks for and nobody attests of the member."""
    from chain.errors import ContractRefused

    try:
        chain.attestations.require_all(member)
    except ContractRefused as refusal:
        return str(refusal.values.get("kind", refusal.error))
    return None


def grant_use(chain: Network, job_id: str, grant_id: str) -> UseView:
    """The use of data that a job makes under a grant, at the head."""
    uses = [use for use in chain.jobs.uses(job_id) if use.grant == grant_id]
    return use_view(chain, uses[0])


def use_view(chain: Network, use: JobUse) -> UseView:
    """A dataset version with its grant as ``chain`` has them."""
    from chain.errors import ContractRefused

    try:
        dataset = chain.datasets.dataset(use.dataset_id)
        version = chain.datasets.version(use.dataset_id, use.version)
    except ContractRefused:
        return UseView(use.party, use.dataset_id, use.version, "UNKNOWN")
    return UseView(
        party=use.party,
        dataset=use.dataset_id,
        version=use.version,
        standing="WITHDRAWN" if version.until_block else "STANDS",
        holder=dataset.site,
        owner=dataset.owner,
        rows=version.rows,
        schema_digest=version.schema_digest,
        rows_root=version.rows_root,
        grant=None if use.grant is None else grant_view(chain, use.grant),
    )


def grant_view(chain: Network, grant_id: str) -> GrantView:
    """A grant as ``chain`` has it; its state is NONE where there is no such grant."""
    from chain.errors import ContractRefused

    try:
        record = chain.consents.record(grant_id)
        state = chain.consents.state(grant_id)
    except ContractRefused:
        return GrantView(grant_id, "NONE")
    terms = record.terms
    return GrantView(
        id=grant_id,
        state=str(state),
        dataset=terms.dataset_id,
        from_version=terms.from_version,
        to_version=terms.to_version,
        grantee=terms.grantee,
        purposes=terms.purposes,
        algorithms=terms.algorithms,
        until=terms.until,
        min_parties=terms.min_parties,
        min_rows=terms.min_rows,
        product_budget=terms.product_budget,
        column_rules=terms.column_rules,
    )


def _model_view(chain: Network, specification: Specification | None) -> ModelView | None:
    from chain.errors import ContractRefused

    if specification is None or specification.model is None:
        return None
    try:
        model = chain.models.model(specification.model)
    except ContractRefused:
        return ModelView(exists=False, stands=False)
    return ModelView(exists=True, stands=model.until_block == 0)


def _refusal(chain: Network, job_id: str) -> NodeError | None:
    """The contract's own word on whether the job may run."""
    from chain.errors import ContractRefused

    try:
        chain.jobs.require_runnable(job_id)
    except ContractRefused as refusal:
        return refusals.from_contract(refusal)
    return None
