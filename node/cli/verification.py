"""A file with proofs (a certificate, a statement, a pack, a receipt of erasure) against a chain, or
against itself, with no node at hand.

Which consortium is asked decides what the answer is worth: name the one that you trust.  Left out,
it is the one that the file names, and the answer says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chain import canonical, erasures, pack, statement
from chain.blocks import MOST, blocks_of, compare
from chain.certificate import MAX_BYTES
from chain.client import ChainClient
from chain.errors import NotDeployed
from chain.evidence import Check, Report, verify_certificate
from chain.network import Network
from chain.standalone import left_to_ask, verify_alone

WHERE = "$.network.consortium"


class Kind(NamedTuple):
    """What a file can be: its name, its two verifications, and what only the chain can tell."""

    name: str
    on_chain: Callable[[bytes, Network], Report]
    alone: Callable[[bytes], Report]
    unchecked: Callable[[Mapping[str, Any]], Mapping[str, str]]


CERTIFICATE = Kind("certificate", verify_certificate, verify_alone, left_to_ask)
KINDS = {
    statement.TYPE: Kind(
        "statement",
        statement.verify_statement,
        statement.verify_statement_alone,
        lambda value: statement.ASK_THE_CHAIN,
    ),
    erasures.TYPE: Kind(
        "receipt of erasure",
        erasures.verify_erasure,
        erasures.verify_erasure_alone,
        lambda value: erasures.ASK_THE_CHAIN,
    ),
    pack.TYPE: Kind("evidence pack", pack.verify_pack, pack.verify_pack_alone, pack.left_to_ask),
}
"""By the `type` that the file states; a certificate states none."""


def _kind(content: bytes) -> Kind:
    return KINDS.get(statement.kind_of(content), CERTIFICATE)


def verify_file(
    file: Path, rpc: str, consortium: str | None, chain_id: int | None = None
) -> dict[str, Any]:
    """Every check as JSON. Raises OSError, and `chain.errors.ChainUnavailable`."""
    content = _content(file)
    client = ChainClient(rpc, expected_chain_id=chain_id)
    named = consortium or _named(content)
    if named is None:
        report = _fault(WHERE, "the file names no consortium, or is not JSON")
    else:
        try:
            report = _kind(content).on_chain(content, Network.open(client, named))
        except NotDeployed as error:
            report = _fault(WHERE if consortium is None else "--consortium", str(error))
    kind = _kind(content).name
    return {"file": str(file), "kind": kind, "consortium": named, **report.to_json()}


def verify_file_alone(file: Path, block: str | None = None) -> dict[str, Any]:
    """The checks that need no chain, and what they leave open; ``block`` is the hash or the header
    of one that the reader trusts. Raises OSError."""
    content = _content(file)
    kind = _kind(content)
    report = kind.alone(content)
    value = json.loads(content) if report.ok else {}
    unchecked = dict(kind.unchecked(value))
    if report.ok and block is not None:
        report = Report((*report.checks, compare(value, block)))
        if report.ok and len(blocks_of(value)) == 1:
            unchecked.pop("block", None)
    return {"file": str(file), "kind": kind.name, **report.to_json(), "unchecked": unchecked}


def named_block(told: str | None) -> str | None:
    """A block as it was named: by itself, or in a file. Raises OSError."""
    if told is None or told.strip().startswith(("0x", "{")):
        return told
    with Path(told).open("rb") as opened:
        return opened.read(MOST + 1).decode("utf-8", "replace")


def extract(file: Path, folder: Path) -> list[str]:
    """Write the report and the verifier page of a pack that holds into a folder; their names.

    Both are made here: what stands in the file are its issuer's words, and might be any page.
    Raises `Invalid` for a file of another kind, OSError.
    """
    from node.errors import Invalid
    from node.ui.pack import LANGUAGES, render
    from node.ui.verifier import page

    content = _content(file)
    if statement.kind_of(content) != pack.TYPE:
        raise Invalid("InvalidRequest", "only an evidence pack holds a report", found=str(file))
    value = json.loads(content)
    pages = {f"report.{language}.html": render(value, language).encode() for language in LANGUAGES}
    folder.mkdir(parents=True, exist_ok=True)
    for name, shown in {**pages, "verifier.html": page()}.items():
        (folder / name).write_bytes(shown)
    return [str(folder / name) for name in (*pages, "verifier.html")]


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_BYTES + 1)  # one more: too large is seen as such


def _named(content: bytes) -> str | None:
    """The address in the file, unchecked but for its form."""
    from eth_utils.address import is_checksum_address

    try:
        canonical.refuse_depth(content)
        named = json.loads(content)["network"]["consortium"]
    except (ValueError, KeyError, TypeError, canonical.NotCanonical):
        return None
    return named if isinstance(named, str) and is_checksum_address(named) else None


def _fault(where: str, detail: str) -> Report:
    return Report((Check("network", where, False, detail),))
