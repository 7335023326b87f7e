"""/v1/datasets: register rows by commitment; they never leave the site."""

from __future__ import annotations

from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import ConfigDict, Field

from node import registration
from node.api.accepted import Accepted, Wait, accepted
from node.api.auth import require
from node.api.operator import OperatorRoute, scoped_key
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import datasets
from node.api.views.datasets import DatasetShown
from node.api.views.model import Asked, IdInPath
from node.submission import Submitted

router = APIRouter(prefix="/datasets", tags=["data"], route_class=OperatorRoute)

Version = Annotated[int, Path(ge=1, lt=2**32)]


class NewDataset(Asked):
    """`path` is below the data folder, or absolute in a folder that is linked there."""

    path: str = Field(min_length=1, max_length=1000)
    name: str = Field(min_length=1, max_length=registration.MAX_NAME)
    id_column: str = Field("id", min_length=1, max_length=120)
    label: str | None = Field(None, min_length=1, max_length=120)
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"path": "credit.csv", "name": "credit 2005", "id_column": "id", "label": "y"}
            ]
        },
    )


class NewVersion(Asked):
    """Other rows under the same columns."""

    path: str = Field(min_length=1, max_length=1000)


@router.get("", summary="Datasets of the consortium")
def list_datasets(
    request: Request, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[DatasetShown]:
    state = request.app.state
    return datasets.page(state.site, state.names, limit=limit, cursor=cursor)


@router.post(
    "",
    status_code=202,
    summary="Commit to the rows of a file and register them",
    dependencies=[Depends(require("data-owner"))],
)
async def register_dataset(
    request: Request, response: Response, body: NewDataset, wait: Wait = 0
) -> Accepted:
    key = scoped_key(request)

    def register() -> Submitted:
        return registration.register_dataset(
            request.app.state.site,
            body.path,
            body.name,
            id_column=body.id_column,
            label=body.label,
            key=key,
        )

    return await accepted(request, response, await run_sync(register), wait)


@router.get("/{id}", summary="One dataset with its versions")
def show_dataset(request: Request, id: IdInPath) -> DatasetShown:
    return datasets.show(request.app.state.site, request.app.state.names, id)


@router.post(
    "/{id}/versions",
    status_code=202,
    summary="Register the next version",
    dependencies=[Depends(require("data-owner"))],
)
async def add_version(
    request: Request, response: Response, id: IdInPath, body: NewVersion, wait: Wait = 0
) -> Accepted:
    site = request.app.state.site
    submitted = await run_sync(registration.add_version, site, id, body.path)
    return await accepted(request, response, submitted, wait)


@router.post(
    "/{id}/versions/{version}/withdraw",
    status_code=202,
    summary="Withdraw a version for good",
    dependencies=[Depends(require("data-owner"))],
)
async def withdraw_version(
    request: Request, response: Response, id: IdInPath, version: Version, wait: Wait = 0
) -> Accepted:
    site = request.app.state.site
    submitted = await run_sync(registration.withdraw_version, site, id, version)
    return await accepted(request, response, submitted, wait)
