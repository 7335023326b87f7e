"""Files that survive a crash and that nobody else reads: mode 0600 in folders of mode 0700."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def make_private(folder: Path) -> Path:
    """Make ``folder``, open to its owner only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def open_private(path: Path) -> int:
    """A descriptor to write a new file that only its owner reads; raises `FileExistsError`."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``: after a crash the file is the old one or the new one."""
    write_all_private({path: content})


def write_all_private(contents: Mapping[Path, bytes]) -> None:
    """`write_private` of many files, together on disk: waiting once for all is faster."""
    written = {}
    with contextlib.ExitStack() as opened:
        for path, content in contents.items():
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            file = opened.enter_context(os.fdopen(open_private(temporary), "wb"))
            file.write(content)
            file.flush()
            written[temporary] = path, file
        for _, file in written.values():
            os.fsync(file.fileno())
    for temporary, (path, _) in written.items():
        temporary.rename(path)
    for folder in {path.parent for path in contents}:
        sync_folder(folder)


def keep_private(path: Path, content: bytes) -> None:
    """Make ``path`` whole, or leave the file that is there: of two who try, one succeeds."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_private(temporary, content)
    with contextlib.suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable: a rename is on disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
