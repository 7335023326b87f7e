"""Parties, typed messages and channels: the one way a protocol talks.

A protocol module declares its messages in the order of the conversation and one coroutine per
role.  A coroutine sees only its own `Channel`, so the same code runs in one process
(`run_in_process`) and between sites: the transport is handed in.

    class Forward(Message, sender=HOST, to=GUEST):
        '''[[u]] with u = Xh wh.  The guest learns the number of rows, no value.'''
        u: BigIntVector

    async def host(ch: Channel, params: Params, table: Table) -> LinearModel:
        key = (await ch.receive(Key)).public
        await ch.send(Forward(key.encrypt(table.X @ w)))
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, dataclass_transform

from ml import wire
from ml.errors import Deadlock, PartnerSilent, ProtocolViolation, TooFewParties, WireError

TIMEOUT_SECONDS = 300.0  # how long a party waits for one message unless its node says otherwise


class Role(StrEnum):
    """What a party does in a protocol; one site may play different roles in different jobs."""

    GUEST = "guest"  # holds the labels, starts the job
    HOST = "host"  # holds features only
    ARBITER = "arbiter"  # deals random numbers, never has data


GUEST, HOST, ARBITER = Role.GUEST, Role.HOST, Role.ARBITER


@wire.register
@dataclass(frozen=True, order=True)
class Party:
    """A site playing a role in one job."""

    role: Role
    site: str

    def __post_init__(self) -> None:
        if not self.site:
            raise ValueError("a party needs the name of its site")

    def __str__(self) -> str:
        return f"{self.role}:{self.site}"


@dataclass_transform(frozen_default=True, eq_default=False)
class Message:
    """One thing said.  A subclass names its route; its docstring says what the receiver learns."""

    senders: ClassVar[tuple[Role, ...]]
    receivers: ClassVar[tuple[Role, ...]]
    kind: ClassVar[str]  # on the wire: module and class name without the leading "ml."
    reveals: ClassVar[str]  # the docstring, for data owners who are asked to consent

    def __init_subclass__(
        cls, *, sender: Role | tuple[Role, ...], to: Role | tuple[Role, ...]
    ) -> None:
        super().__init_subclass__()
        cls.senders = (sender,) if isinstance(sender, Role) else sender
        cls.receivers = (to,) if isinstance(to, Role) else to
        cls.kind = wire.kind_of(cls)
        # Taken before dataclass() writes a signature where there is no docstring.
        cls.reveals = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
        wire.register(dataclass(frozen=True, eq=False, repr=False)(cls))

    def __repr__(self) -> str:
        """The kind alone: what is said may be a secret, and errors and logs quote texts."""
        return f"<{self.kind}>"


M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Address:
    """Where a message is kept until it is taken: the n-th ``kind`` from sender to receiver."""

    sender: Party
    receiver: Party
    kind: str
    n: int

    def __str__(self) -> str:
        return f"{self.sender} -> {self.receiver} {self.kind}#{self.n}"


class Transport(Protocol):
    """Moves bytes between parties.

    ``put`` is idempotent.  ``take`` waits ``within`` seconds for the message and then raises
    `PartnerSilent` with the sender, the kind and the seconds.
    """

    async def put(self, address: Address, body: bytes) -> None: ...
    async def take(self, address: Address, within: float) -> bytes: ...


Progress = Callable[[int, int, str], None]
Measure = Callable[[str, int, float], None]


@dataclass
class Channel:
    """One party's end of the conversation.

    ``context`` names the conversation (job, step and attempt); protocols bind their cryptography
    to it, and it must be the same at all parties.  ``timeout`` is in seconds and holds for every
    message.
    """

    me: Party
    parties: tuple[Party, ...]
    transport: Transport
    timeout: float = TIMEOUT_SECONDS
    max_bytes: int = wire.MAX_BYTES
    context: bytes = b""
    on_progress: Progress | None = None
    on_measure: Measure | None = None
    _sent: Counter[tuple[Party, str]] = field(default_factory=Counter, repr=False)
    _taken: Counter[tuple[Party, str]] = field(default_factory=Counter, repr=False)

    def __post_init__(self) -> None:
        if self.me not in self.parties or len(set(self.parties)) != len(self.parties):
            raise ProtocolViolation(f"{self.me} must be one of the parties, each named once")

    def peers(self, *roles: Role) -> tuple[Party, ...]:
        """The other parties of these roles, in the order in which the job names them."""
        return tuple(p for p in self.parties if p.role in roles and p != self.me)

    def peer(self, role: Role) -> Party:
        """The only other party of ``role``; raises `ProtocolViolation` if there is not one."""
        peers = self.peers(role)
        if len(peers) != 1:
            raise ProtocolViolation(f"{len(peers)} other parties are {role}; name which one")
        return peers[0]

    def progress(self, done: int, total: int, text: str) -> None:
        """Tell whoever watches this party how far it is; never part of the conversation."""
        if self.on_progress is not None:
            self.on_progress(done, total, text)

    def measure(self, name: str, x: int, y: float) -> None:
        """A point of a curve (loss over trees, say) for whoever watches this party."""
        if self.on_measure is not None:
            self.on_measure(name, x, y)

    async def send(self, message: Message, to: Party | None = None) -> None:
        """Say ``message`` to every party of its receiving roles, or to one of them."""
        kind = type(message).kind
        if self.me.role not in message.senders:
            raise ProtocolViolation(
                f"{self.me} may not send {kind}; allowed is {' or '.join(message.senders)}"
            )
        receivers = self.peers(*message.receivers)
        if to is not None and to not in receivers:
            allowed = ", ".join(map(str, receivers)) or "nobody"
            raise ProtocolViolation(f"{kind} may not go to {to}; allowed is {allowed}")
        body = wire.dumps(message, max_bytes=self.max_bytes)
        for peer in receivers if to is None else (to,):
            n = self._sent[peer, kind]
            self._sent[peer, kind] += 1
            await self.transport.put(Address(self.me, peer, kind, n), body)

    async def receive(
        self, kind: type[M], frm: Party | None = None, within: float | None = None
    ) -> M:
        """Wait for the next ``kind`` from ``frm``, by default the only party that may say it.

        Raises `PartnerSilent` after ``within`` seconds (default: the timeout of the channel) and
        `ProtocolViolation` for a body that is not the declared message.
        """
        if self.me.role not in kind.receivers:
            raise ProtocolViolation(
                f"{self.me} may not receive {kind.kind}; allowed is {' or '.join(kind.receivers)}"
            )
        speakers = self.peers(*kind.senders)
        if frm is None and len(speakers) != 1:
            raise ProtocolViolation(f"{len(speakers)} parties may send {kind.kind}; name which one")
        frm = speakers[0] if frm is None else frm
        if frm not in speakers:
            raise ProtocolViolation(
                f"{frm} may not send {kind.kind}; allowed is {' or '.join(map(str, speakers))}"
            )
        n = self._taken[frm, kind.kind]
        self._taken[frm, kind.kind] += 1
        address = Address(frm, self.me, kind.kind, n)
        body = await self.transport.take(address, self.timeout if within is None else within)
        try:
            return wire.loads(body, kind, max_bytes=self.max_bytes)
        except WireError as error:
            raise ProtocolViolation(f"{frm} sent a malformed message: {error}") from error

    async def receive_all(self, kind: type[M], within: float | None = None) -> dict[Party, M]:
        """The next ``kind`` from every party that may say it, in the order of the parties."""
        return {p: await self.receive(kind, p, within) for p in self.peers(*kind.senders)}

    async def receive_some(
        self, kind: type[M], at_least: int, within: float | None = None
    ) -> dict[Party, M]:
        """The next ``kind`` from those who answer in time; the rest dropped out.

        Raises `TooFewParties` if fewer than ``at_least`` answer, and any other error at once.
        """
        peers = self.peers(*kind.senders)
        answers = await asyncio.gather(
            *(self.receive(kind, p, within) for p in peers), return_exceptions=True
        )
        said: dict[Party, M] = {}
        for peer, answer in zip(peers, answers, strict=True):
            if isinstance(answer, BaseException):
                if not isinstance(answer, PartnerSilent):
                    raise answer
            else:
                said[peer] = answer
        if len(said) < at_least:
            raise TooFewParties(kind.kind, len(said), at_least)
        return said


# --- all parties in one process -------------------------------------------------------------


class Said(NamedTuple):
    """One line of a transcript: a message as it crossed."""

    address: Address
    body: bytes


Transcript = list[Said]


@dataclass
class InMemoryTransport:
    """All parties in one event loop.  Keeps the transcript and needs no clock.

    When every running party waits, nobody can say anything any more: whoever waits for a party
    that is not running gets its `PartnerSilent` at once, and if all are running it is a
    `Deadlock`.  So a party that waits for a message must not compute beside it in another task.
    """

    running: set[Party]
    transcript: Transcript = field(default_factory=list)
    _boxes: dict[Address, bytes] = field(default_factory=dict)
    _waiting: dict[Address, tuple[asyncio.Future[bytes], float]] = field(default_factory=dict)

    async def put(self, address: Address, body: bytes) -> None:
        self.transcript.append(Said(address, body))
        if address in self._waiting:
            future, _ = self._waiting.pop(address)
            future.set_result(body)
        else:
            self._boxes[address] = body

    async def take(self, address: Address, within: float) -> bytes:
        if address in self._boxes:
            return self._boxes.pop(address)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[address] = (future, within)
        # Only after all that is ready has run can we see who still waits.
        asyncio.get_running_loop().call_soon(self._end_vain_waits)
        try:
            return await future
        finally:
            if self._waiting.get(address, (None,))[0] is future:
                del self._waiting[address]

    def ended(self, party: Party) -> None:
        """``party`` says nothing more."""
        self.running.discard(party)
        self._end_vain_waits()

    def _end_vain_waits(self) -> None:
        if not self._waiting or {a.receiver for a in self._waiting} != self.running:
            return
        vain = [a for a in self._waiting if a.sender not in self.running]
        for address in vain or list(self._waiting):
            future, within = self._waiting.pop(address)
            future.set_exception(
                PartnerSilent(str(address.sender), address.kind, within)
                if vain
                else Deadlock(f"{address} is awaited, and every party waits")
            )


Program = Callable[..., Awaitable[Any]]


class Outcome(NamedTuple):
    """What a conversation in one process gave: each party's output, and all that was said."""

    outputs: dict[Party, Any]
    transcript: Transcript


async def run_in_process(
    programs: Mapping[Role, Program],
    inputs: Mapping[Party, Sequence[Any]],
    *,
    absent: Collection[Party] = (),
    within: float = TIMEOUT_SECONDS,
    max_bytes: int = wire.MAX_BYTES,
    context: bytes = b"",
    on_progress: Progress | None = None,
) -> Outcome:
    """Run the program of every party of ``inputs`` on its inputs; raise the first error of any.

    ``absent`` are parties of the job that never say anything, to see what the others do.
    """
    parties = (*inputs, *absent)
    transport = InMemoryTransport(running=set(inputs))

    failures: list[Exception] = []

    async def play(me: Party) -> Any:
        channel = Channel(me, parties, transport, within, max_bytes, context, on_progress)
        try:
            return await programs[me.role](channel, *inputs[me])
        except Exception as error:
            failures.append(error)
            raise
        finally:
            transport.ended(me)

    tasks = {me: asyncio.create_task(play(me), name=str(me)) for me in inputs}
    try:
        await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    if failures:
        raise failures[0]  # the others are what it did to the partners
    return Outcome({me: task.result() for me, task in tasks.items()}, transport.transcript)
