"""Errors of a node, each a problem that a caller can act on (RFC 9457).

    NodeError                 status, code, title; what was found, what was allowed, what to do
    ├── Unauthenticated 401   no or bad credentials, signature or token
    ├── Refused 403           an authorised caller asked for what the chain does not allow
    ├── NotFound 404
    ├── Conflict 409          the state does not allow it
    ├── TooLarge 413
    ├── Invalid 422           the request itself is wrong
    ├── TooMany 429           too many attempts in too little time
    └── Unavailable 503       the chain, the broker, the database or a partner does not answer

The ``code`` is stable and names the reason (``GrantExpired``); the class is how HTTP sees it.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar


class NodeError(Exception):
    """A refusal or failure with a stable code; ``str()`` is a sentence for a person.

    ``found`` and ``allowed`` are values, ``hint`` says what to do.  None of them may hold a
    secret, a row or a key.
    """

    status: ClassVar[int] = 500

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        found: Any = None,
        allowed: Any = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.found = found
        self.allowed = allowed
        self.hint = hint

    @property
    def title(self) -> str:
        """The code as words: ``GrantExpired`` → ``Grant expired``."""
        return re.sub(r"(?<!^)(?=[A-Z])", " ", self.code).capitalize()

    def to_problem(self, instance: str | None = None) -> dict[str, Any]:
        """RFC 9457 members, with the extensions code, found, allowed and hint where present."""
        kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", self.code).lower()
        problem: dict[str, Any] = {
            "type": f"/problems/{kebab}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        extras = {
            "instance": instance,
            "found": self.found,
            "allowed": self.allowed,
            "hint": self.hint,
        }
        return problem | {name: value for name, value in extras.items() if value is not None}


class Unauthenticated(NodeError):
    status = 401


class Refused(NodeError):
    status = 403


class NotFound(NodeError):
    status = 404


class Conflict(NodeError):
    status = 409


class TooLarge(NodeError):
    status = 413


class Invalid(NodeError):
    status = 422


class TooMany(NodeError):
    status = 429


class Unavailable(NodeError):
    status = 503


class Failed(NodeError):
    """A step or job that ended badly for the reason ``code`` names."""

    status = 500
