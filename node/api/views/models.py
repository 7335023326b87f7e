"""Models of which this site holds a part, and what the chain says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from node.api.pages import Page, from_cursor, to_cursor
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.errors import NodeError, NotFound
from node.refusals import chain_errors
from node.store import LocalJob, LocalModel

if TYPE_CHECKING:
    from node.site import Site


class ModelOnChain(Shown):
    """`until_block` 0: it stands."""

    job_id: str
    digest: str
    registrar: Named
    from_block: int
    until_block: int
    parents: list[str]


class ModelShown(Shown):
    """`id` is null until the model is registered; `part_digest` is salted."""

    id: str | None
    job_id: str
    algorithm: str
    role: str
    part_digest: str
    metrics: dict[str, object] | None
    created_at: float
    chain: ModelOnChain | None


def page(site: Site, names: Names, *, limit: int, cursor: str | None = None) -> Page[ModelShown]:
    """Newest first."""
    query = (
        select(LocalModel, LocalJob)
        .join(LocalJob, LocalJob.id == LocalModel.job_id)
        .order_by(LocalModel.created_at.desc(), LocalModel.job_id)
        .limit(limit + 1)
    )
    if (position := from_cursor(cursor, float, str)) is not None:
        at, after = position
        same = (LocalModel.created_at == at) & (LocalModel.job_id > after)
        query = query.where((LocalModel.created_at < at) | same)
    with site.store.read() as session:
        rows = [(row[0], row[1]) for row in session.execute(query)]
    more = None
    if len(rows) > limit:
        last = rows[limit - 1][0]
        more = to_cursor(float(last.created_at), last.job_id)
    return Page(items=[_shown(site, names, *row) for row in rows[:limit]], next=more)


def show(site: Site, names: Names, id: str) -> ModelShown:
    """By the model's id, or by the job that made it.  Raises `NotFound` (``ModelUnknown``)."""
    query = (
        select(LocalModel, LocalJob)
        .join(LocalJob, LocalJob.id == LocalModel.job_id)
        .where((LocalModel.model_id == id) | (LocalModel.job_id == id))
    )
    with site.store.read() as session:
        row = session.execute(query).first()
    if row is None:
        raise NotFound("ModelUnknown", "this site holds no part of such a model", found=id)
    return _shown(site, names, row[0], row[1])


def _shown(site: Site, names: Names, model: LocalModel, job: LocalJob) -> ModelShown:
    return ModelShown(
        id=model.model_id,
        job_id=model.job_id,
        algorithm=model.algorithm,
        role=model.role,
        part_digest=model.part_digest,
        metrics=(job.result or {}).get("metrics"),
        created_at=model.created_at,
        chain=None if model.model_id is None else _on_chain(site, names, model.model_id),
    )


def on_chain(site: Site, names: Names, id: str) -> ModelOnChain:
    """Also of a model that is not this site's.  Raises `NotFound` (``ModelUnknown``), and what the
    chain raises."""
    with chain_errors():
        model = site.network().models.model(id)
    return ModelOnChain(
        job_id=model.job,
        digest=model.model_digest,
        registrar=names.site(model.registrar),
        from_block=model.from_block,
        until_block=model.until_block,
        parents=list(model.parents),
    )


def _on_chain(site: Site, names: Names, id: str) -> ModelOnChain | None:
    try:
        return on_chain(site, names, id)
    except NodeError:
        return None  # not confirmed yet, or the chain does not answer: the rest is shown
