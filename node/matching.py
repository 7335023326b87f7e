"""What a job that only matches rows leaves at a party, and what rows are matched by.

    match   psi → result      matched.csv: one line for each own row that is common
    count   count → result    no row: the number is all there is

    common.json   {"common": how many ids are common}, at every party that learns it

A party that the agreement gives no result keeps an empty part, and attests it.
"""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rfc8785

from ml.federation import GUEST, HOST, Channel
from ml.protocols import psi
from ml.protocols.psi import counting
from ml.table import id_type_of, read_texts
from node.specification import Specification

MATCHED, COMMON = "matched.csv", "common.json"
HEADER = ("common", "id")
SALT_BYTES = 32


def terms(specification: Specification, least: int) -> psi.Params:
    """What the agreement says of the matching; ``least`` is this site's own floor."""
    agreed = specification.psi
    return psi.Params(
        minimumIntersection=max(agreed.minimum_intersection, least),
        protocol=agreed.protocol,
        result=agreed.result,
        duplicates=agreed.duplicates,
    )


def keys(path: Path, id_column: str, columns: Sequence[str]) -> tuple[psi.Keys, list[str]]:
    """What the rows of a file are matched by, and the ids under which they are registered."""
    by = tuple(columns) or (id_column,)
    ids, *texts = read_texts(path, (id_column, *by))
    if len(by) > 1:
        return psi.Keys.of_columns(texts), ids
    return psi.Keys(texts[0], id_type_of(texts[0])), ids


async def match(
    channel: Channel, params: psi.Params, own: psi.Keys, ids: Sequence[str]
) -> Mapping[str, bytes]:
    """Files of a job that ends with the common rows."""
    program = {GUEST: psi.guest, HOST: psi.host}[channel.me.role]
    rows = await program(channel, params, own)
    if not _learns(channel, params):
        return _kept(b"")
    body = _lines(own, ids, rows, params)
    return {MATCHED: body, COMMON: _number(len(rows))} | _kept(body)


async def count(channel: Channel, params: psi.Params, own: psi.Keys) -> Mapping[str, bytes]:
    """Files of a job that ends with the number of common ids."""
    program = {GUEST: counting.guest, HOST: counting.host}[channel.me.role]
    found = await program(channel, params, own)
    if found is None:
        return _kept(b"")
    return {COMMON: _number(found)} | _kept(_number(found))


def _learns(channel: Channel, params: psi.Params) -> bool:
    return channel.me.role == GUEST or params.result == "all"


def _lines(own: psi.Keys, ids: Sequence[str], rows: psi.Rows, params: psi.Params) -> bytes:
    """common, id: equal numbers are the same person at every party that has this file."""
    numbers = np.arange(len(rows))
    if params.duplicates == "group":
        rows, starts = psi.groups(own, rows)
        numbers = np.repeat(numbers, np.diff(starts))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((number, ids[row]) for number, row in zip(numbers, rows, strict=True))
    return buffer.getvalue().encode()


def _number(common: int) -> bytes:
    return rfc8785.dumps({"common": common})


def _kept(body: bytes) -> dict[str, bytes]:
    """The part that is attested by a salted digest, so that nobody can guess it."""
    return {"part.bin": body, "salt": secrets.token_bytes(SALT_BYTES)}
