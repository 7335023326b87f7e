"""Names of sites and members by id.

Ids do not change their names, so a name that was read once is kept; a chain that does not
answer costs a name, never a page.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from chain.errors import ChainError
from node.api.views.model import Shown
from node.errors import NodeError

if TYPE_CHECKING:
    from chain.network import Network


class Named(Shown):
    """An id and the name it has on the chain; the name is null where the chain gave none."""

    id: str
    name: str | None


class Names:
    """One per process; safe for threads."""

    def __init__(self, network: Callable[[], Network]) -> None:
        self._network = network
        self._known: dict[str, str] = {}
        self._lock = Lock()

    def site(self, id: str) -> Named:
        return Named(id=id, name=self._name(id, lambda network: network.sites.site(id).name))

    def member(self, id: str) -> Named:
        return Named(id=id, name=self._name(id, lambda network: network.membership.member(id).name))

    def member_of(self, account: str) -> Named | None:
        """The member whose account this is; None where it is nobody's, or the chain is silent."""
        key = f"account:{account}"
        id = self._name(key, lambda network: network.membership.member_of(account))
        return None if id is None else self.member(id)

    def dataset(self, id: str) -> Named:
        return Named(id=id, name=self._name(id, lambda network: network.datasets.dataset(id).name))

    def learn(self, id: str, name: str) -> None:
        with self._lock:
            self._known[id] = name

    def _name(self, id: str, read: Callable[[Network], str]) -> str | None:
        with self._lock:
            known = self._known.get(id)
        if known is not None:
            return known
        try:
            name = read(self._network())
        except (ChainError, NodeError):
            return None
        self.learn(id, name)
        return name
