"""Sentences about what others decided, in the reader's language: events, calls, problems, refusals.

The node tells them as values (a function with its arguments, a code, a condition), and the words
are the catalogue's.  What the catalogue does not know is shown as the node says it, in English.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, Protocol

from node.api.views.known import Known
from node.api.views.life import Moment
from node.api.views.proposals import ActionShown
from node.index.documents import kind_of, link_of
from node.ui.messages import MESSAGES, Language, translate
from node.ui.written import short, when

LONGEST = 160  # characters of a text that others put on the chain
MOST = 4  # of a list that are told
ID = 66
ADDRESS = r"0x[0-9a-fA-F]{40}"

THINGS: Mapping[str, str] = {
    **dict.fromkeys(("site", "proposer", "registrar", "auditor"), "site"),
    **dict.fromkeys(("owner", "grantee", "member", "claimant", "respondent"), "member"),
    **dict.fromkeys(("author", "challenger", "by", "tokenId"), "member"),
    **dict.fromkeys(("algorithm", "codeDigest"), "algorithm"),
    "datasetId": "dataset",
    "grant": "grant",
    "job": "job",
    "proposalId": "proposal",
    "ConsentRegistry.by": "grant",
    "ConsentRegistry.id": "grant",
    "JobRegistry.id": "job",
    "DatasetRegistry.id": "dataset",
    "ModelRegistry.id": "model",
    "Disputes.id": "dispute",
    "AuditRequests.id": "audit",
    "BreakGlass.id": "emergency",
    "SiteRegistry.id": "site",
    "Membership.id": "member",
}
"""What an argument identifies, by its name, or by contract and name."""

TIMES = frozenset(
    {"until", "deadline", "time", "otherTime", "reviewBy", "etaSeconds", "Membership.from"}
)
"""Arguments that are times, in Unix seconds."""

BARE = frozenset(
    {
        "account",
        "Membership.to",
        "Membership.from",
        "SiteRegistry.operator",
        "SiteRegistry.to",
        "SiteRegistry.from",
    }
)
"""Accounts that are told as such: whose they are is what the sentence says."""

ENUMERATED: Mapping[str, str] = {
    "support": "support",
    "ruling": "ruling",
    "Equivocations.kind": "mark",
}
"""Arguments that are numbers for words."""


@dataclass(frozen=True)
class Part:
    """A piece of a sentence; ``whole`` is the id that ``text`` stands for."""

    text: str
    link: str | None = None
    whole: str | None = None


def event(
    language: Language, contract: str, name: str, args: Mapping[str, Any], known: Known
) -> list[Part]:
    """What an event tells, as pieces that lead to what they name."""
    key = f"event.{name}"
    if key not in MESSAGES:
        key = "event.other"
    return _filled(language, key, contract, {**args, "name": args.get("name", name)}, known)


def entry(language: Language, type: str) -> str:
    """What an entry of the log tells, by its type."""
    key = f"entered.{kind_of(type)}"
    return translate(language, key if key in MESSAGES else "entered.other")


def moment(language: Language, told: Moment, known: Known) -> str:
    """What happened in a job, as one line."""
    if told.event is not None:
        found = told.event
        return text_of(event(language, found.contract, found.name, found.args, known))
    key = f"life.{told.kind}"
    if told.message is not None and key not in MESSAGES:
        name = told.kind.rpartition(".")[2]
        return translate(language, "life.message", kind=name, n=told.message.n)
    said = translate(language, key) if key in MESSAGES else told.kind
    more = [] if told.message is not None else [_detail(language, text) for text in told.details]
    return " · ".join([said, *more])


def _detail(language: Language, text: str) -> str:
    """A state, a step or a code in words; anything else as it is."""
    for key in (f"state.{text}", f"step.{text}"):
        if key in MESSAGES:
            return translate(language, key)
    return title(language, text) or text


def transaction(
    language: Language, contract: str, function: str, args: Mapping[str, Any], known: Known
) -> list[Part]:
    """What a transaction asks of a contract."""
    for key in (f"call.{contract}.{function}", f"call.{function}"):
        if key in MESSAGES:
            return _filled(language, key, contract, args, known)
    told = ", ".join(f"{name}={_plain(value)}" for name, value in args.items())
    text = translate(language, "call.other", contract=contract, function=function, args=told)
    return [Part(text[: 2 * LONGEST])]


def text_of(parts: Iterable[Part]) -> str:
    """A sentence without its links."""
    return "".join(part.text for part in parts)


def raw(contract: str, name: str, args: Mapping[str, Any]) -> dict[str, Any] | None:
    """An event as the chain keeps it, topics and data; None for one that no contract declares."""
    from chain.abi import encode_event

    try:
        topics, data = encode_event(contract, name, args)
    except (KeyError, ValueError):
        return None
    return {"topics": topics, "data": data}


def _filled(
    language: Language, key: str, contract: str, args: Mapping[str, Any], known: Known
) -> list[Part]:
    told = {"contract": contract, **dict(_flat(args))}
    parts: list[Part] = []
    for words, name, _, _ in Formatter().parse(translate(language, key)):
        if words:
            parts.append(Part(words))
        if name is None:
            continue
        if name in told:
            parts.append(_part(language, contract, name, told[name], known))
        else:
            parts.append(Part(translate(language, "event.argument.lacking")))
    return parts


def _flat(args: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Arguments, and the fields of those that are structs."""
    for name, value in args.items():
        if isinstance(value, Mapping):
            yield from value.items()
        yield name, value


def _part(language: Language, contract: str, name: str, value: Any, known: Known) -> Part:
    if isinstance(value, bool):
        return Part(translate(language, "yes" if value else "no"))
    if isinstance(value, list):
        some = [_part(language, contract, name, each, known).text for each in value[:MOST]]
        return Part(", ".join(some) + (" …" if len(value) > MOST else ""))
    whole = f"{contract}.{name}"
    if name in TIMES or whole in TIMES:
        return Part(f"{when(value)} UTC" if isinstance(value, int) and value else _plain(value))
    if name == "roles" and isinstance(value, int):
        held = [f"enumerated.role.{bit}" for bit in (1, 2, 4, 8) if value & bit]
        return Part(", ".join(translate(language, key) for key in held) or "–")
    kind = ENUMERATED.get(whole) or ENUMERATED.get(name)
    if kind is not None and (key := f"enumerated.{kind}.{value}") in MESSAGES:
        return Part(translate(language, key))
    if contract == "JobRegistry" and name == "reason" and isinstance(value, str):
        return Part(_reason(value))
    thing = THINGS.get(whole) or THINGS.get(name)
    if thing in ("proposal", "member") and isinstance(value, int) and 0 <= value < 1 << 256:
        value = "0x" + value.to_bytes(32).hex()
    if not isinstance(value, str):
        return Part(_plain(value))
    if re.fullmatch(ADDRESS, value):
        if name in BARE or whole in BARE:
            return Part(short(value), f"/search?q={value}", value)
        return _account(language, value, known)
    if thing is not None and len(value) == ID:
        return _thing(thing, value, known)
    return Part(_plain(value), whole=value if value.startswith("0x") and len(value) == ID else None)


def _account(language: Language, account: str, known: Known) -> Part:
    if int(account, 16) == 0:
        return Part(translate(language, "event.nobody"))
    holder = known.holder(account)
    if holder is None:
        return Part(short(account), f"/search?q={account}", account)
    name = known.name(holder.kind, holder.id)
    link = f"/search?q={account}"
    if holder.kind != "contract":
        link = link_of(holder.kind, holder.id)
    return Part(name or short(account), link, account)


def _thing(kind: str, id: str, known: Known) -> Part:
    return Part(known.name(kind, id) or short(id), link_of(kind, id.lower()), id)


def _reason(value: str) -> str:
    from chain.jobs import reason_text

    try:
        return reason_text(value) or "–"
    except ValueError:
        return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = str(value)
    if text.startswith("0x"):
        return short(text)
    first = text.split("\n", 1)[0].removeprefix("# ")  # a title, as proposals have it
    return first if len(first) <= LONGEST else f"{first[:LONGEST]}…"


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
