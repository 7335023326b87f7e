"""The operator: whoever holds the site's one token.

The token lies in ``HOME/secrets/operator-token``.  It is compared in constant time, and only as
a SHA-256 digest, so that neither its length nor its beginning can be found by timing.  A page in a
browser holds a session cookie instead: an expiry and an HMAC under a key derived from the token,
so a stolen cookie is not the token and ends with it.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from pathlib import Path

from fastapi import Request
from fastapi.security import HTTPBearer

from node.errors import Unauthenticated

COOKIE = "fatechain_session"
SESSION_SECONDS = 12 * 3600

scheme = HTTPBearer(
    auto_error=False,
    description="The operator's token: the content of secrets/operator-token in the site's home.",
)
"""For the OpenAPI document; what decides is `require_operator`."""


class Operator:
    """Knows the token of one site.  Raises FileNotFoundError where the home has none."""

    def __init__(self, token: str) -> None:
        self._digest = hashlib.sha256(token.encode()).digest()
        self._session_key = hmac.digest(token.encode(), b"fatechain session v1", "sha256")

    @classmethod
    def of_home(cls, home: Path) -> Operator:
        return cls((home / "secrets" / "operator-token").read_text(encoding="ascii").strip())

    def holds(self, token: str) -> bool:
        found = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        return hmac.compare_digest(found, self._digest)

    def new_session(self, now: float | None = None) -> str:
        """The value of a cookie that is good for `SESSION_SECONDS`."""
        expires = str(int((time.time() if now is None else now) + SESSION_SECONDS))
        return f"{expires}.{self._seal(expires)}"

    def knows_session(self, cookie: str, now: float | None = None) -> bool:
        expires, _, seal = cookie.partition(".")
        if not hmac.compare_digest(seal.encode(errors="replace"), self._seal(expires).encode()):
            return False
        return int(expires) > (time.time() if now is None else now)

    def _seal(self, expires: str) -> str:
        return hmac.new(
            self._session_key, expires.encode(errors="replace"), hashlib.sha256
        ).hexdigest()


def has_token(request: Request) -> bool:
    """Whether the request brings the operator's token as ``Authorization: Bearer …``."""
    operator: Operator = request.app.state.operator
    token = _bearer(request.headers)
    return token is not None and operator.holds(token)


def require_operator(request: Request) -> None:
    """Raises `Unauthenticated` unless the request brings the operator's token."""
    if has_token(request):
        return
    missing = _bearer(request.headers) is None
    raise Unauthenticated(
        "Unauthenticated",
        "no operator token was sent" if missing else "the token is not this site's",
        hint="send Authorization: Bearer with the content of secrets/operator-token",
    )


def _bearer(headers: Mapping[str, str]) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None
