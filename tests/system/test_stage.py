"""An interrupted demonstration leaves nothing behind that the next one does not clear."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node.demo.stage import clear
from tests.system.test_failures import processes

pytestmark = pytest.mark.system

INTERRUPTED = """
import signal, sys
from pathlib import Path
from node.demo.stage import Stage
stage = Stage(Path(sys.argv[1])).__enter__()
stage.open_chain()
print("running", flush=True)
signal.pause()
"""


def test_what_an_interrupted_run_left_is_ended_by_the_next(tmp_path: Path) -> None:
    root = tmp_path / "s"
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(root)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == "running\n"
    child.kill()
    child.wait()
    assert processes(root), "its testnet runs on"
    clear(root)
    assert processes(root) == []
    assert not root.exists()
