"""How a use case becomes a transaction: rehearsed, recorded once, sent by `fatechain sync`.

    rehearse(site, call)                     # a refusal is told at once and leaves nothing behind
    submit(site, submitted, call, kind, …)   # rows, audit entry and intent in one transaction

Ids are known before they are mined; asking twice under one intent is asking once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from node.audit.entries import acting, record
from node.chain_tx import state_of, want

if TYPE_CHECKING:
    from chain.calls import Call
    from node.site import Site


@dataclass(frozen=True)
class Submitted:
    """The id that the chain will know it by, and the intent under which `chain_tx` has it."""

    id: str
    intent: str


def rehearse(site: Site, call: Call) -> None:
    """Raises what the chain would refuse `call` with, sent by this site now."""
    site.network().client.simulate(call, site.identity.address)


def is_open(site: Site, intent: str) -> bool:
    """Asked for already, and not refused."""
    with site.store.read() as session:
        return state_of(session, intent) not in (None, "REFUSED")


def submit(
    site: Site,
    submitted: Submitted,
    call: Call,
    kind: str,
    facts: Mapping[str, Any],
    *rows: Any,
    actor: str | None = None,
    scope: str | None = None,
) -> Submitted:
    """Record it all in one transaction; what is open or done already stands as it is.

    The entry of the audit log names who asked: `actor`, or else who is acting now. It is erased
    with `scope`, or else with what it is about.
    """
    with site.store.begin() as session:
        intent, is_new = _intent(session, submitted.intent)
        if is_new:
            for row in rows:
                session.merge(row)  # one that was refused before is asked for anew
            want(session, intent, call)
            who = actor or acting()
            record(session, kind, submitted.id, {"intent": intent, **facts}, who, scope=scope)
    return Submitted(submitted.id, intent)


def _intent(session: Session, intent: str) -> tuple[str, bool]:
    """The intent to ask under, and whether it has to be asked.

    A refusal is final for its intent; what the chain would take now is asked under the next one.
    """
    for attempt in count(1):
        name = intent if attempt == 1 else f"{intent}:{attempt}"
        state = state_of(session, name)
        if state != "REFUSED":
            return name, state is None
    raise AssertionError("count() has no end")
