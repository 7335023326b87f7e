"""What each party says to all others of a job besides the computation: what it did.

Approvals and grant uses in the first step, results in the last, as messages like all others: so
they stand in both logs, with one digest and the receiver's signed receipt.  Everybody can read
from the chain what the others have to say; who says something else is believed in nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chain import canonical
from chain.reconciliation import DECLARATIONS, Declaration
from ml.federation import Address, Channel
from node.errors import Failed, Invalid

if TYPE_CHECKING:
    from node.addresses import WireAddress

MAX_BYTES = 2048  # of a declaration


async def declare(channel: Channel, declared: Sequence[Declaration]) -> None:
    """Say ours to every other party, and hear theirs.

    ``declared`` is what all parties have to say.  Raises `Failed` (``DeclarationDiffers``) for a
    party that says something else, and what the transport raises.
    """
    me, others = channel.me, {party.site: party for party in channel.parties}
    del others[me.site]
    for said in declared:
        if said.site == me.site:
            for party in others.values():
                address = Address(me, party, said.kind, said.n)
                await channel.transport.put(address, said.content)
    for said in declared:
        if said.site != me.site:
            address = Address(others[said.site], me, said.kind, said.n)
            body = await channel.transport.take(address, channel.timeout)
            if body != said.content:
                raise Failed(
                    "DeclarationDiffers",
                    f"site {said.site} declares another {DECLARATIONS[said.kind]} than the chain",
                    found=canonical.digest(body),
                    allowed=said.digest,
                    hint="ask that site what its node reads from the chain",
                )


def declared_by(address: WireAddress, body: bytes) -> dict[str, Any] | None:
    """What a message declares; None for one that is no declaration.

    Raises `Invalid` for one that is no canonical object, or too long.
    """
    if address.kind not in DECLARATIONS:
        return None
    try:
        if len(body) > MAX_BYTES:
            raise canonical.NotCanonical(f"more than {MAX_BYTES} bytes")
        declared = canonical.loads(body)
    except canonical.NotCanonical as error:
        raise _invalid(address, str(error)) from error
    if not isinstance(declared, dict):
        raise _invalid(address, "it is no object")
    return declared


def _invalid(address: WireAddress, detail: str) -> Invalid:
    return Invalid(
        "InvalidRequest",
        f"message {address} is no declaration: {detail}",
        allowed=f"canonical JSON of at most {MAX_BYTES} bytes",
    )
