"""Sentences about what others decided, in the reader's language: calls, problems, refusals.

The node tells them as values (a function with its arguments, a code, a condition), and the words
are the catalogue's.  What the catalogue does not know is shown as the node says it, in English.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from node.api.views.proposals import ActionShown
from node.ui.messages import MESSAGES, Language, translate


class Why(Protocol):
    """Why a standing rule, or admission itself, does not let a job pass."""

    @property
    def why(self) -> str: ...
    @property
    def code(self) -> str | None: ...
    @property
    def values(self) -> Mapping[str, Any]: ...


def call(language: Language, action: ActionShown, names: Mapping[str, str]) -> str:
    """What a call does; `names` has those of identifiers, which are told beside them."""
    key = f"call.{action.contract}.{action.function}"
    if not action.known:
        key = "call.unknown.function" if action.contract else "call.unknown.target"
        told = {"target": action.target, "contract": action.contract}
    else:
        told = {name: _told(language, value, names) for name, value in action.args.items()}
        if key not in MESSAGES:
            key = "call.other"
            args = ", ".join(f"{name}={value}" for name, value in told.items())
            told = {"contract": action.contract, "function": action.function, "args": args}
    text = translate(language, key, **told)
    if action.value in ("0", ""):
        return text
    return translate(language, "call.pay", text=text, value=action.value)


def title(language: Language, code: str) -> str | None:
    """The code of a problem as words; None for one that the catalogue does not know."""
    return _known(language, f"code.{code}")


def hint(language: Language, code: str, said: str | None) -> str | None:
    """What to do about a problem; `said` is what the node says."""
    return said if language == "en" else _known(language, f"hint.{code}") or said


def why(language: Language, told: Why) -> str | None:
    """Why a rule did not approve; None where only the node's own words tell it."""
    key = f"why.{told.code}"
    return translate(language, key, **told.values) if key in MESSAGES else None


def code_of(reason: str) -> str | None:
    """The problem's code with which a reason begins, if it is one: ``GrantExpired: it ended``."""
    code = reason.split(":", 1)[0].strip()
    return code if f"code.{code}" in MESSAGES else None


def _told(language: Language, value: Any, names: Mapping[str, str]) -> str:
    if isinstance(value, bool):
        return translate(language, "yes" if value else "no")
    name = names.get(str(value))
    return str(value) if name is None else f"{name} ({value})"


def _known(language: Language, key: str) -> str | None:
    return translate(language, key) if key in MESSAGES else None
