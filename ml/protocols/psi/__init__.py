"""Private set intersection: which rows the guest and all hosts have in common.

Scenario
    The guest and one or more hosts hold tables about partly the same persons, under the same ids.
    Before they train, they need the rows of the persons common to ALL of them, in the same order,
    and nobody may hand over a list of ids.
Who learns what
    result all      Every party learns the intersection: which of its own rows are in it.
    result guest    The guest alone does; hosts do not even learn how many rows are common.
    In both cases the guest also learns, for each host, which of its own rows that host has (with
    one host that is the same), and the guest and a host learn how many distinct ids the other has
    and their type.  Hosts learn nothing of each other beyond the intersection.  Where rows with
    one id are grouped, nobody learns how many rows another party has for it.  The common order is
    one that the first host chose at random, so it tells nothing about the order of anybody's file.
What is not protected
    Parties follow the protocol (semi-honest).  One that puts invented ids into its table learns
    whether the others have them: only the number of its rows, which they see, limits that.  The
    guest decides the order and could leave rows out.  Ids are matched as exact UTF-8 text; a
    person spelled differently is not found.
Protocols
    `ecdh` for small tables, `kkrt` for large ones, and, where a job names it, `oprf` for a small
    table against a large one; all teach the same.  Their assumptions and sources are in their
    prefaces.  `counting` finds the number of common ids and nothing else.
Rounds
    Three and a half: sizes, and what the protocol says, and the matches.

The conversation::

    guest -> host   GuestSet       id type, number of ids
    host  -> guest  HostSet        the same
    guest -> host   Start          the protocol, and a salt that all hashes are bound to
    ...                            what `ecdh`, `kkrt` or `oprf` say
    guest -> host   Matched        the host's positions of the common rows, in common order
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ml.federation import GUEST, HOST, Channel, Message, Party, Program, Role
from ml.protocols.psi import bins, ecdh, kkrt, oprf
from ml.protocols.psi.keys import Distinct, Keys, Rows, groups
from ml.protocols.psi.matching import HostView, Matched, common_rows, tell, told
from ml.protocols.psi.opening import (
    GuestSet,
    HostSet,
    Start,
    check_rows,
    new_salt,
    open_as_guest,
    open_as_host,
    session,
    started,
)
from ml.protocols.psi.params import Params
from ml.table import Table

__all__ = [
    "ECDH_MESSAGES",
    "KKRT_MESSAGES",
    "MESSAGES",
    "OPRF_MESSAGES",
    "PROGRAMS",
    "VERSION",
    "Keys",
    "Params",
    "Rows",
    "groups",
    "guest",
    "host",
]

VERSION = 3

ECDH_MESSAGES: tuple[type[Message], ...] = (GuestSet, HostSet, Start, *ecdh.MESSAGES, Matched)
KKRT_MESSAGES: tuple[type[Message], ...] = (GuestSet, HostSet, Start, *kkrt.MESSAGES, Matched)
OPRF_MESSAGES: tuple[type[Message], ...] = (GuestSet, HostSet, Start, *oprf.MESSAGES, Matched)
MESSAGES: tuple[type[Message], ...] = (
    GuestSet,
    HostSet,
    Start,
    *ecdh.MESSAGES,
    *kkrt.MESSAGES,
    *oprf.MESSAGES,
    Matched,
)


async def guest(ch: Channel, params: Params, table: Table | Keys) -> Rows:
    """The guest's own row positions in the common order, shape (n_common,).

    Raises `NoCommonIds`, `TooFewCommonIds`, `IdTypeMismatch`, `DuplicateIds`, `MissingIds` or a
    `ConversationError`.
    """
    keys = Distinct.of(table, params.duplicates)
    sizes = await open_as_guest(ch, keys)
    rows, positions = common_rows(await _views(ch, params, keys, sizes))
    await tell(ch, params, rows, positions)
    return keys.rows_of(rows)


async def host(ch: Channel, params: Params, table: Table | Keys) -> Rows:
    """This host's own row positions in the common order, shape (n_common,); errors as `guest`.

    None of them if the job gives the result to the guest alone.
    """
    keys = Distinct.of(table, params.duplicates)
    size = await open_as_host(ch, keys)
    method, name = await started(ch, params, max(size, len(keys)))
    if method == "kkrt":
        hashes = await asyncio.to_thread(bins.hash_ids, keys.ids, name)
        order = await kkrt.host(ch, hashes, size, name)
    elif method == "oprf":
        order = await oprf.host(ch, keys.ids, size, name)
    else:
        order = await ecdh.host(ch, keys.ids, size, name)
    return keys.rows_of(await told(ch, params, order, size))


PROGRAMS: dict[Role, Program] = {GUEST: guest, HOST: host}


async def _views(
    ch: Channel, params: Params, keys: Distinct, sizes: Mapping[Party, int]
) -> list[HostView]:
    """Begin by the protocol that suits the sizes, and see it through."""
    method = params.method(largest := max(len(keys), *sizes.values()), len(sizes))
    check_rows(method, largest)
    if method == "kkrt":
        salt, table = await asyncio.to_thread(_fitting, ch, keys)
        await ch.send(Start("kkrt", salt))
        return await kkrt.guest(ch, table, sizes, session(ch, salt))
    await ch.send(Start(method, salt := new_salt()))
    program = {"ecdh": ecdh.guest, "oprf": oprf.guest}[method]
    return await program(ch, keys.ids, sizes, session(ch, salt))


def _fitting(ch: Channel, keys: Distinct) -> tuple[bytes, bins.Table]:
    """A salt with which all ids find a bin: nearly always the first.

    The host sees the last salt only, so it does not learn that another one failed.
    """
    while True:
        salt = new_salt()
        table = bins.Table.build(bins.hash_ids(keys.ids, session(ch, salt)))
        if table is not None:
            return salt, table
