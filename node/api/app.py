"""The application of a site: one process serves operators, other sites and the explorer.

/v1/…         the operator's interface (token), described by /v1/openapi.json
/sites/v1/…   what other sites say to this one (signed requests)
/log/…        the audit log as C2SP tiles
/mirror/…     copies of other sites' logs, alike
/witness/…    what logs ask of a witness
/…            the explorer
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI

from node.api import (
    alerts,
    audit,
    audits,
    between,
    brake,
    breakglass,
    check,
    datasets,
    disputes,
    grants,
    health,
    jobs,
    joining,
    keys,
    lineage,
    mirrors,
    models,
    network,
    packs,
    people,
    predictions,
    problems,
    proposals,
    reviews,
    rules,
    saved,
    search,
    sign_in,
    sites,
    statements,
    tiles,
    transactions,
    waiting,
    witness,
)
from node.api.auth import Gate, scheme, templates_of
from node.api.headers import SecurityHeaders
from node.api.limits import BodyLimit
from node.api.staleness import StaleHeader
from node.api.views.names import Names
from node.site import Site
from node.ui import explorer

DESCRIPTION = """\
A site of a FATE-Chain consortium, as its operator sees it.

Everything but `GET /v1/health` needs `Authorization: Bearer` with the operator's token. Errors are
problem documents (RFC 9457) whose `code` is stable. A request that becomes a transaction answers
202 with the identifier the chain will know it by and a link to the transaction; with `?wait=30` it
answers when the chain has confirmed or refused it. Lists come in pages: pass `next` as `cursor`.
A POST with an `Idempotency-Key` may be repeated.
"""

TAGS = [
    {"name": "site", "description": "Health of this node; sites and facts of the consortium."},
    {"name": "data", "description": "Datasets by commitment, and what their owners allowed."},
    {"name": "work", "description": "Jobs, models and predictions."},
    {"name": "governance", "description": "Proposals to the members, and their votes."},
    {"name": "people", "description": "Who may act here: people, their sessions and API keys."},
    {"name": "evidence", "description": "The audit log with its proofs, and transactions."},
]


def create_app(home: Path | str, site: Site | None = None) -> FastAPI:
    """The application of the site in `home`; a `site` that is handed in stays open."""
    opened = Site.open(Path(home)) if site is None else site

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        if site is None:
            opened.close()

    app = FastAPI(
        title="FATE-Chain node",
        version="1",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # the usual pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.site = opened
    app.state.names = Names(opened.network)
    app.state.gate = Gate.of_home(opened.settings.home)
    app.state.door = joining.Door()
    problems.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(StaleHeader, site=opened)
    app.include_router(_operator_interface())
    app.include_router(health.public, prefix="/v1")
    app.include_router(joining.public, prefix="/v1")
    app.include_router(sign_in.public, prefix="/v1")
    between.install(app)
    witness.install(app)
    app.include_router(mirrors.public)
    app.include_router(tiles.router)  # before the explorer, whose pages are below /log, too
    explorer.install(app)
    app.state.templates = templates_of(app)
    return app


def _operator_interface() -> APIRouter:
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(scheme)])
    for module in (
        check,
        sites,
        keys,
        network,
        datasets,
        grants,
        rules,
        jobs,
        waiting,
        models,
        predictions,
        proposals,
        brake,
        disputes,
        breakglass,
        joining,
        reviews,
        search,
        saved,
        audit,
        lineage,
        statements,
        packs,
        audits,
        witness,
        mirrors,
        alerts,
        transactions,
        people,
        sign_in,
    ):
        v1.include_router(module.router)
    v1.include_router(people.secret)
    return v1
