"""Apache ECharts as the pages load it: one module of the parts that the explorer draws with.

``python -m node.ui.echarts`` takes the version that package-lock.json pins from the npm registry,
makes ../static/echarts.js and its licence anew, and writes their digests to digests.json, which a
test holds against the files.  Nothing runs it but people who change the version or the parts: the
module is kept in the repository, and a page needs neither npm nor a network.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
STATIC = HERE.parent / "static"
MODULE, LICENCE = "echarts.js", "echarts.LICENSE.txt"
SOURCES = ("package.json", "package-lock.json", "parts.js")
BUILD = (
    "npx",
    "--no-install",
    "esbuild",
    "parts.js",
    "--bundle",
    "--minify",
    "--format=esm",
    "--target=es2022",
    "--charset=utf8",
    "--legal-comments=eof",
    '--define:process.env.NODE_ENV="production"',
    f"--outfile={MODULE}",
)


def digests() -> dict[str, str]:
    """Name → SHA-256 of the files that pages load."""
    return {
        name: hashlib.sha256((STATIC / name).read_bytes()).hexdigest() for name in (MODULE, LICENCE)
    }


def pinned() -> dict[str, str]:
    found: dict[str, str] = json.loads((HERE / "digests.json").read_text("utf-8"))
    return found


def build() -> None:
    """Fetch what is pinned, and make module, licence and digests of it.  Needs npm."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in SOURCES:
            shutil.copy(HERE / name, work / name)
        _run(work, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        _run(work, *BUILD)
        shutil.copy(work / MODULE, STATIC / MODULE)
        packages = work / "node_modules"
        texts = [
            (packages / "echarts" / "LICENSE").read_text("utf-8"),
            (packages / "echarts" / "NOTICE").read_text("utf-8"),
            (packages / "zrender" / "LICENSE").read_text("utf-8"),
            (packages / "tslib" / "LICENSE.txt").read_text("utf-8"),
        ]
        (STATIC / LICENCE).write_text("\n\n".join(text.strip() for text in texts) + "\n", "utf-8")
    (HERE / "digests.json").write_text(json.dumps(digests(), indent=2) + "\n", "utf-8")


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True)
