"""Matching by blind signatures: the host signs ids that it cannot read.

For a small table against a large one: the guest's work and what crosses for it grow with its own
table alone, but for one short tag of each id of the host.  The host signs every id, which takes a
thousand times as long as a row of `kkrt`; nothing chooses this protocol by itself.
Who learns what
    As `ml.protocols.psi`; one host only.
Assumption
    Those of `ml.crypto.rsa_blind`, with a key made for one conversation.
Source
    De Cristofaro, Tsudik, "Practical Private Set Intersection Protocols with Linear Complexity",
    FC 2010, fig. 3; the signature is that of RFC 9474, whose hash is as long as the modulus.

With M(x) the encoded id, r random and s the host's private exponent::

    guest -> host   GuestSet, Salt      as in every matching
    host  -> guest  HostSet
    host  -> guest  VerifyingKey        n
    host  -> guest  SignedTags          tag(M(y)^s), in secret order
    guest -> host   BlindIds            M(x) r^e, in secret order
    host  -> guest  BlindSignatures     M(x)^s r
    guest -> host   Matched             the host's positions of the common rows
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml import wire
from ml.crypto.errors import InvalidKey, InvalidSignature
from ml.crypto.rsa_blind import Blinded, PrivateKey, PublicKey
from ml.errors import ProtocolViolation, WireError
from ml.federation import GUEST, HOST, Channel, Message, Party, Program, Role
from ml.protocols.psi.ecdh import TAG_BYTES, as_array, split
from ml.protocols.psi.keys import Distinct, Keys, Rows
from ml.protocols.psi.matching import (
    HostView,
    Matched,
    batches,
    check_batch,
    common_rows,
    secret_order,
    tell,
    told,
)
from ml.protocols.psi.opening import (
    SALT_BYTES,
    GuestSet,
    HostSet,
    new_salt,
    open_as_guest,
    open_as_host,
    session,
)
from ml.protocols.psi.params import Params
from ml.table import Table
from ml.wire import Shape

BATCH = 1024  # ids in one message: 256 KiB at 2048 bits, about a second of signing
_DOMAIN_TAG = b"fatechain psi v2 signature to tag"


class Salt(Message, sender=GUEST, to=HOST):
    """The random salt of all hashing.  The host learns nothing."""

    salt: bytes


class VerifyingKey(Message, sender=HOST, to=GUEST):
    """The public key of the host's signatures, fresh for this conversation."""

    n: wire.BigIntVector  # one


class SignedTags(Message, sender=HOST, to=GUEST):
    """A tag for each id of the host, in secret order.  Alone they tell nothing."""

    tags: Annotated[NDArray[np.uint8], Shape("n", TAG_BYTES)]


class BlindIds(Message, sender=GUEST, to=HOST):
    """The guest's ids, each under a random factor of its own.  The host learns nothing."""

    values: Annotated[NDArray[np.uint8], Shape("n", "width")]


class BlindSignatures(Message, sender=HOST, to=GUEST):
    """The signature of each id of the guest, which only the host's key can make.

    With `SignedTags` the guest learns which of its own rows the host has.
    """

    values: Annotated[NDArray[np.uint8], Shape("n", "width")]


MESSAGES: tuple[type[Message], ...] = (
    GuestSet,
    HostSet,
    Salt,
    VerifyingKey,
    SignedTags,
    BlindIds,
    BlindSignatures,
    Matched,
)


async def guest(ch: Channel, params: Params, table: Table | Keys) -> Rows:
    """The guest's own row positions in the common order.  Raises as `ml.protocols.psi.guest`."""
    peer, keys = ch.peer(HOST), Distinct.of(table, params.duplicates)
    [size] = (await open_as_guest(ch, keys)).values()
    await ch.send(Salt(salt := new_salt()))
    name = session(ch, salt)
    public = _key(await ch.receive(VerifyingKey))
    theirs: list[bytes] = []
    for batch in batches(size, BATCH):
        tags = (await ch.receive(SignedTags)).tags
        check_batch(len(tags), batch, peer)
        theirs += split(tags)
    place = {tag: position for position, tag in enumerate(theirs)}
    if len(place) != size:
        raise ProtocolViolation(f"{peer} repeated a tag; ids are distinct, so tags must be")
    order = secret_order(len(keys))
    found = np.full(len(keys), -1, np.int64)
    for batch in batches(len(keys), BATCH):
        rows = order[batch]
        blinded = await asyncio.to_thread(_blind, public, name, [keys.ids[row] for row in rows])
        await ch.send(BlindIds(as_array([one.value for one in blinded], public.width)))
        answers = (await ch.receive(BlindSignatures)).values
        check_batch(len(answers), batch, peer)
        _check_width(answers, public.width, peer)
        signed = await asyncio.to_thread(_finalized, public, name, blinded, split(answers))
        found[rows] = [place.get(tag, -1) for tag in signed]
        ch.progress(batch.stop, len(keys), f"ids signed by {peer}")
    common, positions = common_rows([HostView(found, size, peer)])
    await tell(ch, params, common, positions)
    return keys.rows_of(common)


async def host(ch: Channel, params: Params, table: Table | Keys) -> Rows:
    """This host's own row positions in the common order; errors as `guest`."""
    peer, keys = ch.peer(GUEST), Distinct.of(table, params.duplicates)
    size = await open_as_host(ch, keys)
    salt = (await ch.receive(Salt)).salt
    if len(salt) != SALT_BYTES:
        raise ProtocolViolation(f"{peer} sent a salt of {len(salt)} bytes, not {SALT_BYTES}")
    private = await asyncio.to_thread(PrivateKey.new)
    width = private.public.width
    await ch.send(VerifyingKey(wire.BigIntVector.pack([private.public.n], width)))
    order, name = secret_order(len(keys)), session(ch, salt)
    for batch in batches(len(keys), BATCH):
        ids = [keys.ids[row] for row in order[batch]]
        tags = await asyncio.to_thread(_tags, private, name, ids)
        await ch.send(SignedTags(as_array(tags, TAG_BYTES)))
        ch.progress(batch.stop, len(keys), "signing own ids")
    for batch in batches(size, BATCH):
        values = (await ch.receive(BlindIds)).values
        check_batch(len(values), batch, peer)
        _check_width(values, width, peer)
        answers = await asyncio.to_thread(_answers, private, split(values))
        await ch.send(BlindSignatures(as_array(answers, width)))
        ch.progress(batch.stop, size, f"signing ids of {peer}")
    return keys.rows_of(await told(ch, params, order, size))


PROGRAMS: dict[Role, Program] = {GUEST: guest, HOST: host}


def _key(said: VerifyingKey) -> PublicKey:
    if len(said.n) != 1:
        raise ProtocolViolation(f"{len(said.n)} keys; needed is one")
    try:
        return PublicKey(said.n.unpack()[0])
    except (InvalidKey, WireError) as error:
        raise ProtocolViolation(f"the host's key is refused: {error}") from error


def _check_width(values: NDArray[np.uint8], due: int, peer: Party) -> None:
    if values.shape[1] != due:
        raise ProtocolViolation(f"{peer} sent numbers of {values.shape[1]} bytes; due are {due}")


def _message(name: bytes, id: str) -> bytes:
    return name + id.encode()


def _tag(name: bytes, signature: bytes) -> bytes:
    return sha256(_DOMAIN_TAG + name + signature).digest()[:TAG_BYTES]


def _tags(private: PrivateKey, name: bytes, ids: Sequence[str]) -> list[bytes]:
    return [_tag(name, private.sign(_message(name, id))) for id in ids]


def _blind(public: PublicKey, name: bytes, ids: Sequence[str]) -> list[Blinded]:
    try:
        return [public.blind(_message(name, id)) for id in ids]
    except InvalidKey as error:
        raise ProtocolViolation(f"the host's key is refused: {error}") from error


def _answers(private: PrivateKey, values: Sequence[bytes]) -> list[bytes]:
    try:
        return [private.answer(value) for value in values]
    except InvalidSignature as error:
        raise ProtocolViolation("the guest sent bytes that are no residue") from error


def _finalized(
    public: PublicKey, name: bytes, blinded: Sequence[Blinded], answers: Sequence[bytes]
) -> list[bytes]:
    """Tags of the signatures, each of which is checked."""
    try:
        return [
            _tag(name, public.finalize(one, answer))
            for one, answer in zip(blinded, answers, strict=True)
        ]
    except InvalidSignature as error:
        raise ProtocolViolation("the host sent what is no signature of what it got") from error
