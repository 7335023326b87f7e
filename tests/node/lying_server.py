"""A site's node that lies over real HTTP: to witnesses, mirrors and whoever reads its log."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from node.api.tiles import Place
from node.errors import NodeError
from node.site import Site
from tests.node.lying_log import LyingLog

Answer = Callable[[BaseHTTPRequestHandler], None]
"""Writes a whole answer, or what a test wants in its place."""


class LyingServer:
    """Shows ``log`` as the log of ``site``.

    ``note`` and ``proof`` are told instead of the true ones where they are set; ``answers`` maps
    the beginnings of paths to what is done there.
    """

    def __init__(self, site: Site, log: LyingLog) -> None:
        self.site, self.log = site, log
        self.note: str | None = None
        self.proof: list[bytes] | None = None
        self.answers: dict[str, Answer] = {}
        self.over = threading.Event()  # a handler that holds a client up waits for it
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                send(self, b'{"size":0}', "application/json")

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def head(self) -> str:
        return self.note or self.log.note(self.site.identity, self.site.id)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        for beginning, does in self.answers.items():
            if request.path.startswith(beginning):
                does(request)
                return
        path = urlsplit(request.path)
        if path.path == "/sites/v1/log/head":
            send(request, json.dumps({"note": self.head()}).encode(), "application/json")
        elif path.path == "/sites/v1/log/proof":
            asked = {name: int(values[0]) for name, values in parse_qs(path.query).items()}
            proof = self.proof
            if proof is None:
                proof = self.log.tree(asked["size"]).consistency_proof(asked["old"], asked["size"])
            told = {"proof": ["0x" + node.hex() for node in proof]}
            send(request, json.dumps(told).encode(), "application/json")
        elif path.path == "/log/checkpoint":
            send(request, self.head().encode())
        else:
            self._tile(request, path.path.removeprefix("/log/tile/"))

    def _tile(self, request: BaseHTTPRequestHandler, path: str) -> None:
        place = Place.parse(path)
        if place is None:
            send(request, b"{}", "application/problem+json", 404)
            return
        try:
            content = self.log.fetch(place.level, place.number, place.width)
        except NodeError as error:
            problem = json.dumps(error.to_problem()).encode()
            send(request, problem, "application/problem+json", error.status)
            return
        send(request, content)


def send(
    request: BaseHTTPRequestHandler,
    content: bytes,
    kind: str = "application/octet-stream",
    status: int = 200,
    **headers: str,
) -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(content)))
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(content)
