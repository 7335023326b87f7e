"""What the contracts say of a site's log, for the monitor: who stands behind it, and its mark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.errors import ChainError
from node.monitor import OnChain

if TYPE_CHECKING:
    from node.site import Site


def log_on_chain(site: Site, log_id: str, size: int) -> OnChain | None:
    """Of its head of ``size`` entries; None while the chain does not say."""
    try:
        network = site.network()
        state = network.anchors.state_of(log_id, size)
        count = network.anchors.witness_of(log_id, size).count
        marks = network.equivocations.marks(log_id)
    except ChainError:
        return None
    return OnChain(state.value, count, marks[0].kind.value if marks else None)
