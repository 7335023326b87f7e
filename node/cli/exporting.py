"""`model export`, `model merge`: a part of a model as JSON, and all parts in XGBoost's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import or_, select

from ml import algorithm as catalogue
from ml.errors import MlError
from ml.federation import GUEST, Role
from node.cli.data import Id
from node.cli.frame import Place
from node.errors import Invalid, NotFound
from node.files import write_private
from node.site import Site
from node.store import LocalModel

Out = Annotated[Path, typer.Option("--out", help="Where the JSON goes; readable by its owner.")]
Parts = Annotated[list[Path], typer.Argument(help="What all parties exported.")]


def export_part(place: Place, id: Id, out: Out) -> None:
    """This site's part of a model as JSON, by the model's id or by the job that made it."""
    with Site.open(place.require_home()) as site:
        with site.store.read() as session:
            named = or_(LocalModel.model_id == id, LocalModel.job_id == id)
            row = session.scalar(select(LocalModel).where(named))
        if row is None:
            raise NotFound("ModelUnknown", f"this site holds no part of model {id}", found=id)
        part = _written(row, (site.settings.home / row.path).read_bytes(), site.id)
    _save(place, part, out, "this site's part")


def _written(row: LocalModel, body: bytes, site: str) -> dict[str, Any]:
    from ml.vertical import export

    if row.algorithm != "secureboost":
        raise Invalid(
            "InvalidRequest",
            f"models of {row.algorithm} are not exported",
            found=row.algorithm,
            allowed="secureboost",
        )
    try:
        part = catalogue.get(row.algorithm).load_model(Role(row.role), body)
        write = export.guest_part if row.role == GUEST else export.host_part
        return write(part, site)
    except MlError as error:
        raise Invalid("InvalidRequest", str(error)) from error


def merge_parts(place: Place, parts: Parts, out: Out) -> None:
    """The parts of all parties in one model that XGBoost reads; needs no node."""
    from ml.vertical import export

    try:
        merged = export.merged([json.loads(part.read_text()) for part in parts])
    except (MlError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = str(error) if isinstance(error, MlError) else "a file holds no part of a model"
        raise Invalid("InvalidRequest", said) from error
    _save(place, merged, out, "the model of all parties")


def _save(place: Place, content: dict[str, Any], out: Path, what: str) -> None:
    body = json.dumps(content, indent=1, ensure_ascii=False).encode()
    write_private(out, body)
    place.show({"file": str(out), "bytes": len(body)}, lambda: f"{out}: {what}")
