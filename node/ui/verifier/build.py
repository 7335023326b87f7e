"""Makes one page of the modules in `source/`: ``python -m node.ui.verifier.build``.

A browser loads no module from a file beside a page that lies on a disk, so each becomes a function
that returns what it exports, in the order in which they need each other.  The page admits its own
script and style by their SHA-256 and nothing else, so it can reach no network.  The same sources
make the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from node.ui.verifier import FILE

SOURCE = Path(__file__).parent / "source"
FIRST = "page"
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
NAME = re.compile(r"^export (?:async )?(?:function\*?|const|class) (\w+)", re.MULTILINE)


def build(source: Path = SOURCE) -> bytes:
    """The page. Raises ValueError for a module that says something this cannot put together."""
    modules: dict[str, str] = {}
    _gather(source, FIRST, modules, ())
    parts = [_as_function(name, text) for name, text in modules.items()]
    script = "\n" + "\n".join([*parts, f"${FIRST}.start();", ""])
    style = "\n" + (source / "page.css").read_text("utf-8")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    page = (source / "page.html").read_text("utf-8")
    for name, text in (("policy", policy), ("style", style), ("script", script)):
        if page.count(f"{{{{{name}}}}}") != 1 or re.search(r"</(script|style)|<!--", text):
            raise ValueError(f"the page has not one place for its {name}, or it would end early")
        page = page.replace(f"{{{{{name}}}}}", text)
    return page.encode()


def _gather(source: Path, name: str, modules: dict[str, str], above: tuple[str, ...]) -> None:
    """All that a module needs before itself."""
    if name in above:
        raise ValueError(f"modules need each other in a circle: {' → '.join((*above, name))}")
    if name in modules:
        return
    text = (source / f"{name}.js").read_text("utf-8")
    for _, needed in IMPORT.findall(text):
        _gather(source, needed, modules, (*above, name))
    modules[name] = text


def _as_function(name: str, text: str) -> str:
    exported = NAME.findall(text)
    body = IMPORT.sub(lambda found: f"const {{{found[1]}}} = ${found[2]};\n", text)
    body = re.sub(r"^export (?=(async )?(function|const|class)\b)", "", body, flags=re.MULTILINE)
    if left := re.search(r"^(import|export)\b.*", body, re.MULTILINE):
        raise ValueError(f"{name}.js: {left[0]!r} is no form that is understood here")
    return f"const ${name} = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


if __name__ == "__main__":
    FILE.write_bytes(build())
