"""Names that the confirmed events gave: of sites, members, datasets, algorithms, accounts.

A page of a hundred events names hundreds of ids, and asks the chain for none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from node.store import ChainEvent

LONGEST = 80  # characters of a name as it is shown


@dataclass(frozen=True)
class Holder:
    """Whose an account is: a member's, a site's that it operates, or a contract's."""

    kind: str
    id: str


@dataclass(frozen=True)
class _Naming:
    """Which argument of an event is the id, the name, and an account that stands for it."""

    kind: str
    id: str = "id"
    name: str | None = None
    account: str | None = None


_NAMINGS: Mapping[tuple[str, str], _Naming] = {
    ("Membership", "MemberAdmitted"): _Naming("member", name="name", account="account"),
    ("Membership", "MemberRecovered"): _Naming("member", account="to"),
    ("SiteRegistry", "SiteRegistered"): _Naming("site", name="name", account="operator"),
    ("SiteRegistry", "SiteOperatorChanged"): _Naming("site", account="to"),
    ("DatasetRegistry", "DatasetRegistered"): _Naming("dataset", name="name"),
    ("Reviews", "CodeSubmitted"): _Naming("algorithm", id="codeDigest", name="name"),
    ("Consortium", "AlgorithmAllowed"): _Naming("algorithm", id="codeDigest", name="name"),
    ("Consortium", "ContractSet"): _Naming("contract", id="name", name="name", account="at"),
}


class Known:
    """One per process; safe for threads.  Reads what is new whenever it is asked to."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._holders: dict[str, Holder] = {}
        self._last = 0
        self._lock = Lock()

    def learn(self, session: Session) -> Known:
        """Take in the names that came since; itself."""
        newest = session.scalar(select(func.max(ChainEvent.id))) or 0
        with self._lock:
            if newest == self._last:
                return self
            if newest < self._last:  # the chain took events back
                self._last = 0
            kinds = tuple_(ChainEvent.contract, ChainEvent.name).in_(list(_NAMINGS))
            later = select(ChainEvent).where(kinds, ChainEvent.id > self._last)
            for event in session.scalars(later.order_by(ChainEvent.id)):
                self._take(event)
            self._last = newest
        return self

    def name(self, kind: str, id: str) -> str | None:
        """None where no event gave one."""
        return self._names.get((kind, id.lower()))

    def holder(self, account: str) -> Holder | None:
        """Of an account; None where it is nobody's that is known."""
        return self._holders.get(account.lower())

    def _take(self, event: ChainEvent) -> None:
        naming = _NAMINGS[event.contract, event.name]
        id = str(event.args.get(naming.id, "")).lower()
        if naming.name is not None:
            name = str(event.args.get(naming.name, ""))[:LONGEST]
            self._names[naming.kind, id] = name
        if naming.account is not None:
            account = str(event.args.get(naming.account, "")).lower()
            # An account that is a member's and operates its site is told as the member's.
            held = self._holders.get(account)
            if held is None or held.kind == "site":
                self._holders[account] = Holder(naming.kind, id)
