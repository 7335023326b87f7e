"""What it takes to check who stands behind a head of this log: the note, and the keys by the chain.

A browser that checks the signatures itself condemns a note with a line that it cannot place, so the
note has lines by keys that stand now and no others: of keys that ended it proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from node.api.views.model import Shown
from node.audit.checkpoint import origin_of, sign_checkpoint
from node.audit.note_keys import CosignerKey
from node.audit.notes import Note, NoteKey, Signature, key_id
from node.errors import NodeError
from node.store import Cosignature, PublishedHead

if TYPE_CHECKING:
    from node.directory import Directory
    from node.site import Site


class Signer(Shown):
    """A site that signed the head, its member, and the keys that it signs with by the chain.

    `audit` are Ed25519 keys (32 bytes, 0x-hex), `accounts` Ethereum addresses in lower case.
    """

    site: str
    member: str
    audit: list[str]
    accounts: list[str]


class Witnessed(Shown):
    """The head as a signed note, and who signed it.

    Accounts sign for `contract` of `chain`; `needed` members have to stand behind a head.
    """

    note: str
    signers: list[Signer]
    chain: int
    contract: str
    needed: int


def look(site: Site, size: int, root: str, rows: Sequence[Cosignature]) -> Witnessed | None:
    """`rows` are the cosignatures of the head; None while the chain does not tell whose keys are
    whose, and while it does not know this site's own yet."""
    from chain.errors import ChainError

    if not site.is_registered or not size:
        return None
    directory = site.directory
    try:
        network = site.network()
        if site.identity.audit_public not in directory.audit_keys(site.id):
            return None
        lines = list(_lines(site, size, rows))
        names = dict.fromkeys((site.id, *(name for name, _ in lines)))
        return Witnessed(
            note=_note(site, size, root, [line for _, line in lines]),
            signers=[_signer(directory, name) for name in names],
            chain=network.client.chain_id,
            contract=network.anchors.address.lower(),
            needed=network.anchors.cosigners_needed(),
        )
    except (ChainError, NodeError):
        return None


def cosigner(directory: Directory, site_id: str, line: Signature) -> CosignerKey | None:
    """The key that the site has now and that a witness's line names; None if it names another."""
    keys = (CosignerKey(origin_of(site_id), key) for key in directory.audit_keys(site_id))
    return next((key for key in keys if _names(line, key)), None)


def _lines(site: Site, size: int, rows: Sequence[Cosignature]) -> list[tuple[str, Signature]]:
    """By whom, and the line; first the log's own for contracts."""
    with site.store.read() as session:
        published = session.get(PublishedHead, size)
        own = "" if published is None else published.line
    kept = [(site.id, own)]
    kept += [(row.witness, text) for row in rows for text in (row.line, row.account_line)]
    told = [(name, Signature.parse(text)) for name, text in kept if text]
    return [(name, line) for name, line in told if _stands(site.directory, name, line)]


def _stands(directory: Directory, site_id: str, line: Signature) -> bool:
    accounts = directory.anchor_keys(site_id)
    by_account = any(_names(line, key) for key in accounts)
    return by_account or cosigner(directory, site_id, line) is not None


def _names(line: Signature, key: NoteKey) -> bool:
    return line.name == key.name and line.key_id == key_id(key.name, key.material)


def _note(site: Site, size: int, root: str, lines: Sequence[Signature]) -> str:
    note = Note.parse(sign_checkpoint(site.identity, site.id, size, bytes.fromhex(root[2:])))
    return str(note.signed(*lines))


def _signer(directory: Directory, site_id: str) -> Signer:
    return Signer(
        site=site_id,
        member=directory.member_of(site_id),
        audit=["0x" + key.hex() for key in directory.audit_keys(site_id)],
        accounts=[key.address for key in directory.anchor_keys(site_id)],
    )
