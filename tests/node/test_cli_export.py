"""`fatechain model export` and `model merge`: parts as JSON, and all of them for XGBoost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml.federation import Party
from ml.local.losses import LOGISTIC
from ml.vertical.secureboost import ALGORITHM
from node.site import Site
from node.store import LocalJob, LocalModel
from tests.ml.test_scoring import BANK, CLINIC, SHOP, make_world
from tests.node.test_cli import Run, run, site

__all__ = ["run", "site"]

JOB, MODEL = "0x" + "e1" * 32, "0x" + "e2" * 32


def keep(site: Site, party: Party, algorithm: str = "secureboost") -> None:
    """Let the site hold a party's part of a model."""
    part = make_world((SHOP, CLINIC)).parts[party]
    if party == BANK:
        none = np.empty(0)
        part = replace(part, objective=LOGISTIC, start=np.array([0.5]), loss=none, auc=none)
    path = site.settings.jobs / "part.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ALGORITHM.dump_model(part))
    with site.store.begin() as session:
        if session.get(LocalJob, JOB) is None:
            session.add(LocalJob(id=JOB, state="SUCCEEDED", specification_digest=JOB, proposer=JOB))
            session.flush()
        session.merge(
            LocalModel(
                job_id=JOB,
                model_id=MODEL,
                algorithm=algorithm,
                role=str(party.role),
                part_digest=JOB,
                path=str(path.relative_to(site.settings.home)),
            )
        )


def test_parts_are_exported_and_merged(run: Run, site: Site, tmp_path: Path) -> None:
    files = []
    for party in (BANK, SHOP, CLINIC):
        keep(site, party)
        files.append(out := tmp_path / f"{party.site}.json")
        done = run("model", "export", MODEL, "--out", out, "--home", site.settings.home)
        assert done.code == 0
        assert oct(out.stat().st_mode & 0o777) == "0o600"
        part = json.loads(out.read_text())
        assert (part["role"], part["site"]) == (str(party.role), site.id)
        out.write_text(
            json.dumps(part | {"site": party.site, "columns": [party.site]}).replace(
                '"column": "x"', f'"column": "{party.site}"'
            )
        )
    both = tmp_path / "all.json"
    assert run("model", "merge", *files, "--out", both).code == 0
    model = json.loads(both.read_text())["learner"]
    assert model["feature_names"] == ["bank", "shop", "clinic"]
    assert run("model", "merge", *files[:2], "--out", both, "--json").problem["code"] == (
        "InvalidRequest"
    )
    files[0].write_text("[1]")
    refused = run("model", "merge", *files, "--out", both, "--json")
    assert (refused.code, refused.problem["code"]) == (1, "InvalidRequest")


def test_only_models_that_are_here_are_exported(run: Run, site: Site, tmp_path: Path) -> None:
    asked = ("model", "export", "0x" + "e9" * 32, "--out", tmp_path / "x", "--json")
    missing = run(*asked, "--home", site.settings.home)
    assert (missing.code, missing.problem["code"]) == (1, "ModelUnknown")
    keep(site, SHOP, algorithm="linear")
    other = run(*asked[:2], JOB, *asked[3:], "--home", site.settings.home)
    assert (other.code, other.problem["code"]) == (1, "InvalidRequest")
