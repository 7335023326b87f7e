"""A witness goes round: it asks every other site for its head, cosigns it, and brings it back.

Each log is looked at in its own time, for `VISIT_SECONDS` at most and some at once: sites that are
dead or slow delay the others by little.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from chain.merkle import verify_consistency
from node.audit.notes import Note, key_id
from node.errors import Invalid, NodeError
from node.witness import UNPROVEN, Shown, Witness

if TYPE_CHECKING:
    from node.site import Site

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
AT_ONCE = 8
VISIT_SECONDS = 20


class Rounds:
    """Looks at all other logs every ``witness_every_seconds``; ``clock`` is in Unix seconds."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site = site
        self.witness = Witness(site, clock)
        self.clock = clock
        self._went_at = float("-inf")
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)

    async def run(self, ending: threading.Event) -> None:
        """Until the process ends."""
        try:
            while not ending.is_set():
                try:
                    await self.step()
                except NodeError as problem:
                    log.warning("witness: %s", problem)
                except Exception:
                    log.exception("witness")  # a mistake of ours must not end all witnessing
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def step(self) -> None:
        """Go round once more when it is time.  Waits for no other site."""
        every = self.site.settings.witness_every_seconds
        if not self.site.is_registered or self.clock() - self._went_at < every:
            return
        self._went_at = self.clock()  # also where the chain is silent: it is not asked all the time
        for log_id in await asyncio.to_thread(self.site.directory.sites):
            if log_id == self.site.id or log_id in self._under_way:
                continue
            task = asyncio.create_task(self._visit(log_id))
            self._under_way[log_id] = task
            task.add_done_callback(lambda _, log_id=log_id: self._under_way.pop(log_id))  # type: ignore[misc]

    async def drain(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*list(self._under_way.values()))

    async def _visit(self, log_id: str) -> None:
        async with self._places:
            problem = ""
            try:
                async with asyncio.timeout(VISIT_SECONDS):
                    await self.visit(log_id)
            except NodeError as error:
                problem = str(error)
                log.info("log of %s: %s", log_id, error)
            except TimeoutError:
                problem = f"PartnerUnreachable: not over within {VISIT_SECONDS} s"
                log.info("log of %s: %s", log_id, problem)
            except Exception as error:
                problem = type(error).__name__  # told as well: nobody reads a task's failure
                log.exception("log of %s", log_id)
            await asyncio.to_thread(self.witness.look, log_id, problem)

    async def visit(self, log_id: str) -> None:
        """Ask for the head, have it proved, cosign it, bring the cosignature back.

        Raises what hindered it; what does not go together is entered in this site's log before.
        """
        told = await self.site.peers.head(log_id)
        shown = await asyncio.to_thread(self.witness.read, told)
        if shown.log_id != log_id:
            raise Invalid("CheckpointInvalid", f"site {log_id} showed the head of {shown.log_id}")
        known = await asyncio.to_thread(self.witness.known, log_id)
        if shown.head == known and (
            not known.size or await asyncio.to_thread(self._is_cosigned, told)
        ):
            return
        if shown.head.size < known.size:
            await self._check_older(shown)
        proof: list[bytes] = []
        if 0 < known.size < shown.head.size:
            proof = await self._proof(shown, known.size, shown.head.size)
        try:
            lines = await asyncio.to_thread(self.witness.cosign, known.size, proof, shown)
        except Invalid as refusal:
            if refusal.code == "ProofInvalid":
                await asyncio.to_thread(self.witness.convict, UNPROVEN, shown)
            raise
        cosigned = Note(shown.note.text, lines)
        await self.site.peers.give_cosignature(log_id, str(cosigned))

    async def _check_older(self, shown: Shown) -> None:
        """An older head is no crime if the newer one continues it; it is never cosigned.

        Raises `Invalid` (``HeadWentBack``, ``ProofInvalid``).
        """
        known = await asyncio.to_thread(self.witness.known, shown.log_id)
        old = shown.head
        if old.size:
            proof = await self._proof(shown, old.size, known.size)
            if not verify_consistency(old.root, old.size, known.root, known.size, proof):
                # Proofs are not signed: what came may be another's doing than the log's.
                await asyncio.to_thread(self.witness.convict, UNPROVEN, shown)
                raise Invalid(
                    "ProofInvalid", f"its head of {old.size} entries is not shown to be ours"
                )
        raise Invalid(
            "HeadWentBack",
            f"it shows {old.size} entries and had {known.size} before",
            found=old.size,
            allowed=known.size,
        )

    async def _proof(self, shown: Shown, old: int, new: int) -> list[bytes]:
        """The log's own proof; where it answers that it has none, that is entered."""
        try:
            return await self.site.peers.consistency(shown.log_id, old, new)
        except Invalid:
            await asyncio.to_thread(self.witness.convict, UNPROVEN, shown)
            raise

    def _is_cosigned(self, told: str) -> bool:
        places = {(line.name, line.key_id) for line in Note.parse(told).signatures}
        keys = self.witness.keys()
        return all((key.name, key_id(key.name, key.material)) in places for key in keys)
