"""/v1/predictions: scores of rows by a model of this site."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ConfigDict

from node.api.accepted import Accepted, Wait
from node.api.auth import require
from node.api.evidence import EVIDENCE
from node.api.jobs import submit
from node.api.operator import OperatorRoute
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import jobs, predictions
from node.api.views.jobs import JobSummary
from node.api.views.model import EXAMPLE_DIGEST, EXAMPLE_ID, IdInPath
from node.api.views.predictions import PredictionShown
from node.jobs import JobRequest

router = APIRouter(prefix="/predictions", tags=["work"], route_class=OperatorRoute)


class NewPrediction(JobRequest):
    """As a job, with the `model` whose parts the parties hold; `kind` is "predict" always."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "algorithm": "secureboost",
                    "model": EXAMPLE_DIGEST,
                    "parties": [
                        {"site": EXAMPLE_ID, "role": "guest", "inputs": [{"dataset": EXAMPLE_ID}]},
                        {
                            "site": EXAMPLE_DIGEST,
                            "role": "host",
                            "inputs": [{"dataset": EXAMPLE_DIGEST, "grant": EXAMPLE_ID}],
                        },
                    ],
                }
            ]
        },
    )


@router.get("", dependencies=[EVIDENCE], summary="Predictions of this site, newest first")
def list_predictions(
    request: Request, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[JobSummary]:
    app = request.app.state
    return jobs.page(app.site, app.names, limit=limit, cursor=cursor, kind="predict")


@router.post(
    "",
    status_code=202,
    summary="Ask for scores by a model",
    dependencies=[Depends(require("data-scientist"))],
)
async def predict(
    request: Request, response: Response, body: NewPrediction, wait: Wait = 0
) -> Accepted:
    asked = body.model_copy(update={"kind": "predict", "holdout": None})
    return await submit(request, response, asked, wait)


@router.get("/{id}", dependencies=[EVIDENCE], summary="One prediction with a page of its scores")
def show_prediction(
    request: Request, id: IdInPath, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> PredictionShown:
    app = request.app.state
    return predictions.show(app.site, app.names, id, limit=limit, cursor=cursor)
