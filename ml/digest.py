"""What code an algorithm is: the digest over every file of `ml` that its module imports.

The imports are read, not run, so the digest is the same on every machine with the same files, and
no change in any of these files goes unseen.  A consortium allows algorithms by this digest.

Reading them all takes a tenth of a second, and nodes ask at every admission: a closure that was
read is kept for as long as none of its files, and no folder they lie in, has changed since.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from threading import Lock

import rfc8785

PACKAGE = Path(__file__).parent

# Before Python 3.11.8 two threads that parse at once fail with a SystemError (gh-106905).
_PARSING = Lock()

State = tuple[int, int, int, int]
"""Of a file or folder: device, inode, bytes, nanoseconds of the last change."""

_kept: dict[tuple[frozenset[str], Path], tuple[dict[Path, State | None], dict[str, str]]] = {}


def import_closure(modules: Iterable[str], package: Path = PACKAGE) -> dict[str, str]:
    """``{path: 0x-hex SHA-256}`` of these modules and all they import inside ``package``.

    Paths are relative to the folder of the package, with forward slashes.  An import inside a
    function counts too, and so does the ``__init__.py`` of every package on the way.
    """
    asked = frozenset(modules), package
    if asked in _kept:
        states, closure = _kept[asked]
        if states == _states(states):
            return dict(closure)
    # Looked at before they are read: what changes meanwhile is read again the next time.
    before = _states(package.rglob("*.py")) | _states(_folders(package))
    closure = _read_closure(asked[0], package)
    files = {package.parent / path for path in closure}
    kept = {path: state for path, state in before.items() if path.suffix != ".py" or path in files}
    _kept[asked] = kept, closure
    return dict(closure)


def _read_closure(modules: Iterable[str], package: Path) -> dict[str, str]:
    waiting, found = list(modules), dict[str, str]()
    while waiting:
        module = waiting.pop()
        if (file := _file(module, package)) is None:
            raise ModuleNotFoundError(f"{module} is not in the package {package.name}")
        path = file.relative_to(package.parent).as_posix()
        if path in found:
            continue
        source = file.read_bytes()
        found[path] = "0x" + sha256(source).hexdigest()
        waiting += _parents(module)
        waiting += [name for name in _imports(module, file, source) if _file(name, package)]
    return found


def _states(paths: Iterable[Path]) -> dict[Path, State | None]:
    """None of what is not there."""
    found: dict[Path, State | None] = {}
    for path in paths:
        try:
            stat = path.stat()
        except OSError:
            found[path] = None
        else:
            found[path] = stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
    return found


def _folders(package: Path) -> list[Path]:
    """Where a module may appear that was not there: of all its folders one changes then."""
    found = (path for path in package.rglob("*") if path.is_dir() and path.name != "__pycache__")
    return [package, *found]


def closure_digest(closure: Mapping[str, str]) -> str:
    """0x-hex SHA-256 of the closure as canonical JSON (RFC 8785, which sorts the paths)."""
    return "0x" + sha256(rfc8785.dumps(dict(closure))).hexdigest()


def _file(module: str, package: Path) -> Path | None:
    """The file of a module of the package, if it has one."""
    first, *rest = module.split(".")
    if first != package.name:
        return None
    folder = package.joinpath(*rest)
    candidates = (folder / "__init__.py", folder.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:k]) for k in range(1, len(parts))]


def _imports(module: str, file: Path, source: bytes) -> Iterator[str]:
    """The names that could be modules in every import statement of ``source``."""
    here = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    with _PARSING:
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
