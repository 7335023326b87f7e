"""What the consortium agreed on: contracts, members, algorithms, schemes, minimums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from chain.canonical import unword
from node.api.views.model import Shown
from node.api.views.names import Names
from node.api.views.sites import Member, members
from node.store import ChainEvent, ChainState

if TYPE_CHECKING:
    from node.site import Site


class AlgorithmShown(Shown):
    """`until_block` 0: it stands.  `here`: this node has code with exactly this digest."""

    code_digest: str
    name: str
    from_block: int
    until_block: int
    here: bool


class NetworkShown(Shown):
    chain_id: int
    consortium: str
    authority: str
    constitution: str
    contracts: dict[str, str]
    head_block: int
    read_to_block: int
    members: list[Member]
    algorithms: list[AlgorithmShown]
    schemes: list[str]
    purposes: list[str]
    minimums: dict[str, int]


def show(site: Site, names: Names) -> NetworkShown:
    """Lists come from the confirmed events, states from the chain's newest block."""
    network = site.network()
    named = _named(site)
    algorithms = []
    for digest in named["algorithms"]:
        algorithm = network.consortium.algorithm(digest)
        algorithms.append(
            AlgorithmShown(
                code_digest=digest,
                name=algorithm.name,
                from_block=algorithm.from_block,
                until_block=algorithm.until_block,
                here=_is_here(algorithm.name, digest),
            )
        )
    with site.store.read() as session:
        state = session.get(ChainState, 1)
        read_to = -1 if state is None else state.cursor_block
    return NetworkShown(
        chain_id=network.client.chain_id,
        consortium=network.consortium.address,
        authority=network.consortium.authority(),
        constitution=network.consortium.constitution(),
        contracts={name: address for address, name in network.contracts.items()},
        head_block=network.client.head().number,
        read_to_block=read_to,
        members=members(network, names),
        algorithms=algorithms,
        schemes=[s for s in named["schemes"] if network.consortium.is_scheme_admitted(s)],
        purposes=[p for p in named["purposes"] if network.consortium.is_purpose_allowed(p)],
        minimums={name: network.consortium.minimum(name) for name in named["minimums"]},
    )


_NAMED_BY = {
    "AlgorithmAllowed": ("algorithms", "codeDigest"),
    "SchemeAdmitted": ("schemes", "scheme"),
    "PurposeAllowed": ("purposes", "purpose"),
    "MinimumSet": ("minimums", "name"),
}


def _named(site: Site) -> dict[str, list[str]]:
    """Every algorithm, scheme, purpose and minimum that an event ever named, in that order."""
    named: dict[str, dict[str, None]] = {kind: {} for kind, _ in _NAMED_BY.values()}
    query = (
        select(ChainEvent)
        .where(ChainEvent.contract == "Consortium", ChainEvent.name.in_(_NAMED_BY))
        .order_by(ChainEvent.id)
    )
    with site.store.read() as session:
        for event in session.scalars(query):
            kind, field = _NAMED_BY[event.name]
            value = event.args[field]
            named[kind][value if kind == "algorithms" else _word(value)] = None
    return {kind: list(values) for kind, values in named.items()}


def _word(value: str) -> str:
    return unword(value) if value.startswith("0x") else value


def _is_here(name: str, digest: str) -> bool:
    from ml.algorithm import code_digest
    from ml.errors import MlError

    try:
        return code_digest(name) == digest
    except (MlError, KeyError):
        return False
