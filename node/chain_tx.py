"""Transactions this site wants: recorded with what they follow from, sent by one process in order.

`want` inserts an intent in the caller's transaction; the unique ``intent`` makes asking twice the
same as asking once.  `Sender.step`, run by the sync process alone, carries each intent on:

    WAITING → SIGNED → SENT → MINED → CONFIRMED        or REFUSED, with the reason

The signed bytes are in the database before they are sent, so a crash at any point sends the same
transaction again and never another one.  A refusal is final; a connection that breaks is not.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from node import refusals
from node.store import ChainTx

if TYPE_CHECKING:
    from chain.calls import Call, Receipt
    from chain.client import ChainClient
    from node.errors import NodeError
    from node.store import Store

log = logging.getLogger(__name__)

IN_FLIGHT = 16  # transactions sent and not mined yet; later ones wait their turn
RESEND_SECONDS = 10.0  # a transaction that is not mined by then is handed to the chain again
REPRICE_SECONDS = 30.0  # and by then its fee is raised
RETRY_SECONDS = 600.0  # a revert that nothing explains is tried again, for so long
OPEN = ("WAITING", "SIGNED", "SENT", "MINED")

Refused = Callable[[Session, ChainTx, "NodeError"], None]


def want(session: Session, intent: str, call: Call) -> ChainTx:
    """Ask for a transaction in the caller's own; the first with this ``intent`` stands."""
    found = session.scalar(select(ChainTx).where(ChainTx.intent == intent))
    if found is not None:
        return found
    row = ChainTx(intent=intent, call=json.loads(call.to_json()))
    session.add(row)
    session.flush()
    return row


def want_again(session: Session, intent: str, call: Call) -> ChainTx:
    """As `want`; what the chain refused is asked anew, since it would take it now."""
    row = want(session, intent, call)
    if row.state == "REFUSED":
        row.state, row.call = "WAITING", json.loads(call.to_json())
        row.error = row.nonce = row.raw = row.tx_hash = row.block = row.gas_used = None
    return row


def state_of(session: Session, intent: str) -> str | None:
    """How far an intent is; None: nobody asked for it."""
    return session.scalar(select(ChainTx.state).where(ChainTx.intent == intent))


class Sender:
    """Signs and sends what the rows ask for.  One per site: it alone chooses nonces.

    ``on_refused`` is called in the transaction that marks a row REFUSED.
    """

    def __init__(
        self,
        store: Store,
        client: ChainClient,
        *,
        confirmations: int,
        on_refused: Refused | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.client = client
        self.confirmations = confirmations
        self.on_refused = on_refused
        self.clock = clock

    def step(self, head: int) -> bool:
        """Carry every open row as far as it goes now; whether any moved.  ``head``: block number.

        Raises ChainUnavailable; what was done until then stands.
        """
        moved = False
        for row in self._rows("SENT"):
            moved |= self._look(row, head)
        for row in self._rows("MINED"):
            moved |= self._confirm(row, head)
        return self.send_new() or moved

    def send_new(self) -> bool:
        """Send what is signed or waits to be; whether there was any.  Raises ChainUnavailable."""
        moved = False
        for row in self._rows("SIGNED"):
            moved |= self._send(row)
        for row in self._rows("WAITING"):
            if not self._sign(row):
                break  # later intents may follow from this one: the order is kept
            moved = True
        return moved

    def _rows(self, state: str) -> list[ChainTx]:
        with self.store.read() as session:
            query = select(ChainTx).where(ChainTx.state == state)
            return list(session.scalars(query.order_by(ChainTx.nonce, ChainTx.id)))

    def _sign(self, row: ChainTx) -> bool:
        """WAITING → SENT or REFUSED; False where it has to wait for those before it."""
        from chain.errors import ChainRefused, ContractRefused, FeeCapExceeded

        flying = self._rows("SIGNED") + self._rows("SENT")
        if len(flying) >= IN_FLIGHT:
            return False
        taken = [mate.nonce + 1 for mate in flying if mate.nonce is not None]
        call = call_of(row)
        try:
            nonce = max([self.client.nonce("latest"), *taken])
            signed = self.client.sign(call, nonce)
        except ContractRefused as refusal:
            if flying:
                return False  # it may follow from one that is not mined yet
            self._refuse(row, refusals.from_contract(refusal))
            return True
        except (ChainRefused, FeeCapExceeded) as trouble:
            self._note(row, trouble)
            return False
        self._set(row, "SIGNED", nonce=nonce, raw=signed.raw, tx_hash=signed.hash)
        self._send(row)
        return True

    def _send(self, row: ChainTx) -> bool:
        """SIGNED or SENT → SENT.  A nonce that another transaction took is chosen anew.

        What the endpoint will not take (no funds, a fee too low) stays as it is and says why.
        """
        from chain.errors import ChainRefused, NonceTaken

        assert row.raw is not None
        try:
            self.client.broadcast(row.raw)
        except NonceTaken:
            if row.tx_hash and self.client.find_receipt(row.tx_hash) is None:
                self._set(row, "WAITING", nonce=None, raw=None, tx_hash=None)
                return True
        except ChainRefused as trouble:
            self._note(row, trouble)
            return False
        self._set(row, "SENT", error=None)
        return True

    def _look(self, row: ChainTx, head: int) -> bool:
        """SENT → MINED or REFUSED; resent, then better paid, when it takes long."""
        assert row.tx_hash is not None
        receipt = self.client.find_receipt(row.tx_hash)
        if receipt is not None:
            return self._mined(row, receipt)
        waited = self.clock() - row.changed_at
        if waited > REPRICE_SECONDS:
            return self._reprice(row)
        if waited > RESEND_SECONDS and not self.client.knows(row.tx_hash):
            return self._send(row)
        return False

    def _reprice(self, row: ChainTx) -> bool:
        """The same intent at the same nonce with the fees of today, when they are higher."""
        from chain.errors import ChainRefused, ContractRefused, FeeCapExceeded, NonceTaken

        assert row.nonce is not None
        assert row.raw is not None
        if self.client.nonce("latest") > row.nonce:
            # Something is mined at this nonce, and it is not this transaction.
            self._set(row, "WAITING", nonce=None, raw=None, tx_hash=None)
            return True
        try:
            signed = self.client.sign(call_of(row), row.nonce, self.client.fees().raised())
            self.client.broadcast(signed.raw)
        except (ContractRefused, ChainRefused, FeeCapExceeded, NonceTaken):
            # It cannot be replaced now: see to it that the chain still has the first one.
            return self._send(row)
        self._set(row, "SENT", raw=signed.raw, tx_hash=signed.hash)
        return True

    def _mined(self, row: ChainTx, receipt: Receipt) -> bool:
        if receipt.status:
            mined = {"block": receipt.block_number, "gas_used": receipt.gas_used}
            self._set(row, "MINED", **mined)
            return True
        reason = self._reason(row)
        if reason is None and self.clock() - row.created_at < RETRY_SECONDS:
            self._set(row, "WAITING", nonce=None, raw=None, tx_hash=None)
        else:
            self._refuse(row, reason or _unexplained(row, receipt), receipt)
        return True

    def _reason(self, row: ChainTx) -> NodeError | None:
        """Why the chain does not take the call now; None if it would.

        A transaction that ran into a neighbour of its block (two parties attest at once, and the
        last one's gas was measured as if it were the first) reverts without a reason of its own.
        """
        from chain.errors import ContractRefused

        try:
            self.client.simulate(call_of(row))
        except ContractRefused as refusal:
            return refusals.from_contract(refusal)
        return None

    def _confirm(self, row: ChainTx, head: int) -> bool:
        assert row.block is not None
        assert row.tx_hash is not None
        if head - row.block < self.confirmations:
            return False
        receipt = self.client.find_receipt(row.tx_hash)
        if receipt is None or receipt.block_number != row.block:
            self._set(row, "SENT", block=None)  # the block went away; look for it again
        else:
            self._set(row, "CONFIRMED")
        return True

    def _refuse(self, row: ChainTx, reason: NodeError, receipt: Receipt | None = None) -> None:
        with self.store.begin() as session:
            current = session.get_one(ChainTx, row.id)
            current.state, current.changed_at = "REFUSED", self.clock()
            current.error = {"code": reason.code, "detail": reason.detail}
            if receipt is not None:
                current.block, current.gas_used = receipt.block_number, receipt.gas_used
            else:
                current.nonce = current.raw = current.tx_hash = None
            if self.on_refused is not None:
                self.on_refused(session, current, reason)

    def _note(self, row: ChainTx, trouble: Exception) -> None:
        """Why a transaction does not go out; it is tried again, so this is no refusal."""
        error = {"code": type(trouble).__name__, "detail": str(trouble)[:400]}
        if row.error != error:
            log.warning("%s waits: %s", row.intent, trouble)
            self._set(row, row.state, error=error)

    def _set(self, row: ChainTx, state: str, **values: Any) -> None:
        values |= {"state": state, "changed_at": self.clock()}
        with self.store.begin() as session:
            current = session.get_one(ChainTx, row.id)
            for name, value in values.items():
                setattr(current, name, value)
                setattr(row, name, value)


def _unexplained(row: ChainTx, receipt: Receipt) -> NodeError:
    from node.errors import Conflict

    detail = f"{call_of(row)} reverted in block {receipt.block_number} and gave no reason"
    return Conflict("ContractRefused", detail)


def call_of(row: ChainTx) -> Call:
    """The call that a row stores."""
    from chain.calls import Call

    return Call.from_json(json.dumps(row.call))
