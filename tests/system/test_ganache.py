"""The same contracts, nodes and job on the other engine."""

from __future__ import annotations

import pytest

from node.demo.stage import Stage
from tests.system.conftest import play

pytestmark = pytest.mark.system


def test_a_job_ends_with_a_verified_certificate_on_ganache(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with Stage(tmp_path_factory.mktemp("g") / "s", engine="ganache") as stage:
        story = play(stage)
        story.run_job()
        story.certify()
        assert story.outcome.job["chain"]["state"] == "SUCCEEDED"
        assert story.outcome.verification["ok"]
