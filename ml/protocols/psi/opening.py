"""How every matching begins: sizes, id types, and by which protocol it goes on."""

from __future__ import annotations

import secrets
from hashlib import sha256

from ml.errors import IdTypeMismatch, ProtocolViolation
from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.protocols.psi.keys import Distinct
from ml.protocols.psi.params import KKRT_MAX_ROWS, Method, Params
from ml.table import IdType

MAX_ROWS = 2**27  # of a partner; beyond it the claim is no table
SALT_BYTES = 32

_DOMAIN = b"fatechain psi v2 conversation"


class GuestSet(Message, sender=GUEST, to=HOST):
    """The host learns how many distinct ids the guest has, and their type."""

    id_type: IdType
    rows: int
    context: bytes  # SHA-256 of the conversation's name: both must mean the same one


class HostSet(Message, sender=HOST, to=GUEST):
    """The guest learns how many distinct ids the host has, and their type."""

    id_type: IdType
    rows: int
    context: bytes


class Start(Message, sender=GUEST, to=HOST):
    """The host learns by which protocol the guest matches, and the random salt of all hashing."""

    protocol: Method
    salt: bytes


def new_salt() -> bytes:
    """A salt for one conversation: no hash of an id means anything in another."""
    return secrets.token_bytes(SALT_BYTES)


def session(ch: Channel, salt: bytes) -> bytes:
    """What all hashing of a conversation is bound to: its name and its salt; 32 bytes."""
    return sha256(digest(ch.context) + salt).digest()


def digest(context: bytes) -> bytes:
    """Names a conversation in 32 bytes."""
    return sha256(_DOMAIN + context).digest()


async def open_as_guest(ch: Channel, keys: Distinct) -> dict[Party, int]:
    """Tell the hosts our size; theirs, by host.  Raises `IdTypeMismatch` or `ProtocolViolation`."""
    if not ch.peers(HOST):
        raise ProtocolViolation("an intersection needs at least one host; the job names none")
    await ch.send(GuestSet(keys.id_type, len(keys), digest(ch.context)))
    said = await ch.receive_all(HostSet)
    return {host: _size(ch, keys, host, answer) for host, answer in said.items()}


async def open_as_host(ch: Channel, keys: Distinct) -> int:
    """Tell the guest our size; its own.  Raises `IdTypeMismatch` or `ProtocolViolation`."""
    await ch.send(HostSet(keys.id_type, len(keys), digest(ch.context)))
    return _size(ch, keys, ch.peer(GUEST), await ch.receive(GuestSet))


async def started(ch: Channel, params: Params, rows: int) -> tuple[Method, bytes]:
    """The protocol that the guest chose, if the job allows it, and the session."""
    peer, start = ch.peer(GUEST), await ch.receive(Start)
    if params.protocol not in ("auto", start.protocol):
        raise ProtocolViolation(f"{peer} chose {start.protocol}; the job says {params.protocol}")
    if len(start.salt) != SALT_BYTES:
        raise ProtocolViolation(f"{peer} sent a salt of {len(start.salt)} bytes, not {SALT_BYTES}")
    check_rows(start.protocol, rows)
    return start.protocol, session(ch, start.salt)


def check_rows(method: Method, largest: int) -> None:
    """Raises `ProtocolViolation` for more rows than the protocol is safe with."""
    if method == "kkrt" and largest > KKRT_MAX_ROWS:
        raise ProtocolViolation(f"{largest} rows; kkrt matches up to {KKRT_MAX_ROWS}, ecdh more")


def _size(ch: Channel, keys: Distinct, peer: Party, said: GuestSet | HostSet) -> int:
    """The peer's number of ids, if its set can be matched with ours at all."""
    if said.context != digest(ch.context):
        raise ProtocolViolation(f"{peer} is in another conversation than {ch.me}")
    if said.id_type != keys.id_type:
        raise IdTypeMismatch(keys.id_type, said.id_type, str(peer))
    if not 0 <= said.rows <= MAX_ROWS:
        raise ProtocolViolation(f"{peer} claims {said.rows} rows; allowed are 0 to {MAX_ROWS}")
    return said.rows
