"""What can be found, and by which words.

Every entry of the log and every event of the chain is a document.  The things that they tell of
(jobs, datasets, grants, members …) are documents, too: born of the event that first names them, and
told more of by this site's own rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from node.audit.log import LogEntry
from node.index.words import WHOLE_ID, words_of
from node.store import Anchor, AuditEntry, ChainEvent, LocalDataset, LocalJob, Proposal, Task

KINDS: Mapping[str, int] = {
    "job": 1,
    "dataset": 2,
    "grant": 3,
    "model": 4,
    "proposal": 5,
    "dispute": 6,
    "emergency": 7,
    "site": 8,
    "member": 9,
    "algorithm": 10,
    "anchor": 11,
    "audit": 12,
    "entry": 13,
    "event": 14,
}
"""Kind → its number in the database; in the order in which they are shown."""

PLACES: Mapping[str, str] = {"entry": "log", "emergency": "emergencies"}
MOST_WORDS = 200
LONGEST_LABEL = 160


@dataclass(frozen=True)
class Document:
    """``key`` is unique within the kind and says where the document is shown (`link_of`).

    ``place`` is the event that it is, or that it was born of: when the chain takes that back, the
    document goes.
    """

    kind: str
    key: str
    label: str
    words: frozenset[str]
    place: Place | None = None


@dataclass(frozen=True)
class Place:
    """An event's place on the chain, and the block's hash there."""

    block: int
    log_index: int
    block_hash: str

    @classmethod
    def of(cls, event: ChainEvent) -> Place:
        return cls(event.block, event.log_index, event.block_hash)


@dataclass(frozen=True)
class Birth:
    """Which argument of an event is a thing's id, and which its name."""

    kind: str
    id: str
    name: str | None = None


BIRTHS: Mapping[tuple[str, str], Birth] = {
    ("JobRegistry", "JobProposed"): Birth("job", "id", "purpose"),
    ("DatasetRegistry", "DatasetRegistered"): Birth("dataset", "id", "name"),
    ("ConsentRegistry", "ConsentGranted"): Birth("grant", "id"),
    ("ModelRegistry", "ModelRegistered"): Birth("model", "id"),
    ("ConsortiumGovernor", "ProposalCreated"): Birth("proposal", "proposalId"),
    ("Disputes", "DisputeOpened"): Birth("dispute", "id", "about"),
    ("AuditRequests", "AuditRequested"): Birth("audit", "id", "kind"),
    ("BreakGlass", "BreakGlassOpened"): Birth("emergency", "id"),
    ("SiteRegistry", "SiteRegistered"): Birth("site", "id", "name"),
    ("Membership", "MemberAdmitted"): Birth("member", "id", "name"),
    ("Consortium", "AlgorithmAllowed"): Birth("algorithm", "codeDigest", "name"),
}


def of_entry(entry: LogEntry | AuditEntry, data: Mapping[str, Any] | None) -> Document:
    """By place, leaf, id, kind, subject, actor, and by the words of ``data`` where it is open."""
    kind = kind_of(entry.type)
    words = {str(entry.index), "0x" + entry.leaf_hash.hex(), entry.id.lower(), entry.type.lower()}
    words |= words_of(kind, entry.subject, entry.actor)
    words |= words_of(*_texts(data or {}))
    return _document("entry", str(entry.index), f"{entry.index} {kind}", words)


def of_event(event: ChainEvent) -> Document:
    """By block, transaction, contract, name and arguments."""
    words = {str(event.block), event.tx_hash, event.contract.lower()}
    words |= words_of(event.name, *_texts(event.args))
    label = f"{event.contract}.{event.name}, {event.block}"
    key = f"{event.block}.{event.log_index}"
    return _document("event", key, label, words, Place.of(event))


def born_of(event: ChainEvent) -> Document | None:
    """The thing that this event first names."""
    birth = BIRTHS.get((event.contract, event.name))
    if birth is None:
        return None
    key = id_in(event, birth)
    name = "" if birth.name is None else str(event.args.get(birth.name, ""))
    words = words_of(key, *_texts(event.args)) | {event.tx_hash}
    return _document(birth.kind, key, name or key, words, Place.of(event))


def id_in(event: ChainEvent, birth: Birth) -> str:
    """The id of what is born; proposals are numbers to the governor, and ids everywhere else."""
    value = event.args.get(birth.id, "")
    return _proposal_id(value) if birth.kind == "proposal" else str(value).lower()


def named_in(event: ChainEvent) -> set[str]:
    """Identifiers of which an event tells something."""
    found = {text.lower() for text in _texts(event.args) if len(text) == WHOLE_ID}
    if "proposalId" in event.args:
        found.add(_proposal_id(event.args["proposalId"]))
    return found


def local(session: Session, ids: Iterable[str]) -> Iterator[Document]:
    """What this site's own rows say of identifiers; nothing for those that it has no rows of."""
    asked = sorted(ids)
    for job in session.scalars(select(LocalJob).where(LocalJob.id.in_(asked))):
        yield _job(session, job)
        if job.model_id is not None:
            words = words_of(job.model_id, job.id, job.algorithm)
            yield _document("model", job.model_id, job.model_id, words)
    for dataset in session.scalars(select(LocalDataset).where(LocalDataset.id.in_(asked))):
        digests = (dataset.rows_root, dataset.schema_digest, dataset.file_digest)
        words = words_of(dataset.id, dataset.name, *digests)
        yield _document("dataset", dataset.id, dataset.name, words)
    for proposal in session.scalars(select(Proposal).where(Proposal.id.in_(asked))):
        told = (proposal.title, proposal.description, proposal.kind or "", proposal.proposer)
        words = words_of(proposal.id, *told)
        yield _document("proposal", proposal.id, proposal.title or proposal.id, words)


def anchors(session: Session, sizes: Iterable[int]) -> Iterator[Document]:
    """Heads of this site's log on the chain."""
    for row in session.scalars(select(Anchor).where(Anchor.size.in_(sorted(sizes)))):
        words = {row.root, row.tx_hash}
        yield _document("anchor", str(row.size), f"{row.size}, {row.root}", words)


def link_of(kind: str, key: str) -> str:
    """The page of a document."""
    if kind == "event":
        block, _, log_index = key.partition(".")
        return f"/events?block={block}#e{block}-{log_index}"
    if kind == "anchor":
        return f"/log/{int(key) - 1}?size={key}"
    if kind == "algorithm":
        return f"/sites#{key}"
    return f"/{PLACES.get(kind, kind + 's')}/{key}"


def kind_of(type: str) -> str:
    """``fatechain.message.sent.v1`` → ``message.sent``."""
    return type.removeprefix("fatechain.").removesuffix(".v1")


def _job(session: Session, job: LocalJob) -> Document:
    outputs = session.scalars(select(Task.output_digest).where(Task.job_id == job.id))
    told = [job.id, job.specification_digest, job.kind, job.algorithm, job.reason or ""]
    told += [digest for digest in outputs if digest is not None]
    told += [job.model_id or "", *_texts(job.specification or {})]
    label = f"{job.algorithm} {job.id}".strip()
    return _document("job", job.id, label, words_of(*told))


def _proposal_id(number: int) -> str:
    from chain.governor import proposal_id_text

    return proposal_id_text(number)


def _document(
    kind: str, key: str, label: str, words: set[str], place: Place | None = None
) -> Document:
    kept = sorted(word for word in words if word)[:MOST_WORDS]
    return Document(kind, key, label[:LONGEST_LABEL], frozenset(kept), place)


def _texts(value: Any, depth: int = 4) -> Iterator[str]:
    """The texts in JSON; names of members and numbers are not what people look for."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each, depth - 1)
    elif depth and isinstance(value, list):
        for each in value:
            yield from _texts(each, depth - 1)
