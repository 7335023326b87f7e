"""A bound on what a request to the operator's interface may carry.

Messages between sites have a limit of their own, checked where they are streamed to disk.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.api.problems import problem_response
from node.errors import TooLarge

MAX_BODY_BYTES = 1 << 20
ELSEWHERE = "/sites/"


class BodyLimit:
    """ASGI middleware: refuses a declared length at once, an undeclared one when it is passed."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(ELSEWHERE):
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self.limit:
            refusal = self._too_large(declared.decode("latin-1"))
            await problem_response(refusal, scope["path"])(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                raise self._too_large(f"more than {self.limit}")
            return message

        await self.app(scope, counted, send)

    def _too_large(self, found: str) -> TooLarge:
        return TooLarge(
            "MessageTooLarge",
            f"a request carries at most {self.limit} bytes",
            found=found,
            allowed=self.limit,
        )
