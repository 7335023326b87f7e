"""A site's interface that is killed with a step of taking a message, again and again.

    python -m tests.node.inbox_victim HOME OTHER_HOME JOB FD

For each line on stdin, the number of a step, one process is forked that serves the site of HOME on
the listening socket FD and sends itself SIGKILL before that step, counted from the first request
on: an SQL statement, a commit, a file opened, renamed or removed, a part of an answer sent.  It
prints its process id when it is about to serve; ``dead`` follows.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from sqlalchemy import event
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.api import between, problems
from node.directory import JobOnChain
from node.site import Site
from tests.node.two_sites import Book

FILE_EVENTS = ("open", "os.mkdir", "os.remove", "os.rename", "os.listdir", "shutil.rmtree")


class Fate:
    """Counts steps from the first request on."""

    def __init__(self, fatal_step: int) -> None:
        self.left = fatal_step
        self.has_begun = False

    def tick(self, *_: Any, **__: Any) -> None:
        if not self.has_begun:
            return
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def over(self, app: ASGIApp) -> ASGIApp:
        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            self.has_begun = True

            async def sent(message: Message) -> None:
                self.tick()
                await send(message)
                self.tick()

            await app(scope, receive, sent)

        return watched


def main(home: Path, other: Path, job: str, listener: socket.socket) -> None:
    book = Book()
    sites = [Site.open(each, directory=book) for each in (home, other)]
    for site in sites:
        book.enter(site)
    book.jobs[job] = JobOnChain(job, "RUNNING", frozenset(site.id for site in sites))
    for site in sites:
        site.store.dispose()  # no connection goes through a fork
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            serve(sites[0], listener, int(line))
        os.waitpid(child, 0)
        print("dead", flush=True)


def serve(site: Site, listener: socket.socket, fatal_step: int) -> None:
    fate = Fate(fatal_step)
    event.listen(site.store.engine, "before_cursor_execute", fate.tick)
    event.listen(site.store.engine, "commit", fate.tick)
    sys.addaudithook(lambda name, _: fate.tick() if name in FILE_EVENTS else None)
    app = FastAPI()
    app.state.site = site
    problems.install(app)
    between.install(app)
    config = uvicorn.Config(fate.over(app), log_level="critical", lifespan="off", ws="none")
    print(os.getpid(), flush=True)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], socket.socket(fileno=int(sys.argv[4])))
