"""Makes `tests/vectors/pack.json` anew: ``python -m tests.node.pack_vector``.

A pack without its report and most decisions, so that it is short; with keys of that run.
"""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path

from chain.statement import signed_bytes
from node.certificate import certify
from node.packs import Wanted, pack
from tests.chain.pack_lies import FILE, content
from tests.node import consortium
from tests.node.test_certificate import evidence_of_all, succeeded


def make(folder: Path) -> bytes:
    """A pack of everything about one certified job."""
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, folder)
    job = succeeded(world)
    certify(world.bank, job, evidence_of_all(world, job))
    world.settle()
    value = json.loads(pack(world.bank, Wanted()))
    value["report"] = dict.fromkeys(value["report"], "")
    value["governance"] = value["governance"][:2]
    signature = world.bank.identity.sign_audit(signed_bytes(value))
    world.close()
    return content(value | {"signature": base64.b64encode(signature).decode()})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        FILE.write_bytes(make(Path(folder)))
