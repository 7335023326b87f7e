"""What a site remembers: SQLAlchemy models and the one way to open a transaction.

The database is the queue.  Rows are inserted in the transaction of what they record; changes of
state are compare-and-set.  SQLite (the default) runs in WAL mode with ``BEGIN IMMEDIATE`` and a
busy timeout, on one host; PostgreSQL serves beyond.  Times are UTC seconds as floats
(``*_at``); blocks are numbers (``*_block``); identifiers are 0x-hex of 32 bytes.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    Engine,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from node.errors import Unavailable

BUSY_TIMEOUT_MS = 15_000
BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only INTEGER keys by itself


def new_uuid() -> str:
    return str(uuid.uuid4())


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


# ── The chain, as this site has seen it ──────────────────────────────────────────────────────


class ChainState(Base):
    """One row: how far the chain was read and when it last answered."""

    __tablename__ = "chain_state"
    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    chain_id: Mapped[int] = mapped_column(BigInteger, default=0)
    head_block: Mapped[int] = mapped_column(BigInteger, default=0)
    head_time: Mapped[int] = mapped_column(BigInteger, default=0)  # block time, seconds
    cursor_block: Mapped[int] = mapped_column(BigInteger, default=-1)  # last confirmed block read
    cursor_hash: Mapped[str] = mapped_column(String(66), default="")
    seen_at: Mapped[float] = mapped_column(default=0.0)
    problem: Mapped[str] = mapped_column(String(200), default="")  # why the chain stands still


class ChainEvent(Base):
    """A confirmed contract event, in chain order."""

    __tablename__ = "chain_event"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    block: Mapped[int] = mapped_column(BigInteger, index=True)
    block_hash: Mapped[str] = mapped_column(String(66))
    tx_hash: Mapped[str] = mapped_column(String(66), index=True)
    log_index: Mapped[int]
    contract: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(60))
    args: Mapped[dict[str, Any]]
    __table_args__ = (
        UniqueConstraint("block", "log_index"),
        Index("ix_event_kind", "contract", "name"),
    )


class ChainTx(Base):
    """A transaction this site wants sent; ``intent`` makes asking twice the same as asking once."""

    __tablename__ = "chain_tx"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    intent: Mapped[str] = mapped_column(String(200), unique=True)
    call: Mapped[dict[str, Any]]  # chain.calls.Call as JSON
    state: Mapped[str] = mapped_column(String(12), default="WAITING", index=True)
    # WAITING → SIGNED → SENT → MINED → CONFIRMED, or REFUSED (with error)
    nonce: Mapped[int | None] = mapped_column(BigInteger)
    raw: Mapped[str | None]  # signed bytes, hex; kept before sending: a crash re-sends the same
    tx_hash: Mapped[str | None] = mapped_column(String(66))
    block: Mapped[int | None] = mapped_column(BigInteger)
    gas_used: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[dict[str, Any] | None]  # {"code", "detail"}
    created_at: Mapped[float] = mapped_column(default=time.time)
    changed_at: Mapped[float] = mapped_column(default=time.time)


# ── This site's own data ─────────────────────────────────────────────────────────────────────


class LocalDataset(Base):
    """A registered dataset whose rows lie at this site; path and key never leave it."""

    __tablename__ = "local_dataset"
    id: Mapped[str] = mapped_column(String(66), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    path: Mapped[str]
    id_column: Mapped[str] = mapped_column(String(120))
    label_column: Mapped[str | None] = mapped_column(String(120))
    schema: Mapped[dict[str, Any]]
    schema_digest: Mapped[str] = mapped_column(String(66))
    rows_root: Mapped[str] = mapped_column(String(66))
    rows: Mapped[int]
    columns: Mapped[int]
    commitment_key: Mapped[bytes] = mapped_column(LargeBinary)
    file_digest: Mapped[str] = mapped_column(String(66))
    created_at: Mapped[float] = mapped_column(default=time.time)


class Budget(Base):
    """Vectors answered so far under a grant (the product budget), durable over jobs and crashes."""

    __tablename__ = "budget"
    grant_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    spent: Mapped[int] = mapped_column(BigInteger, default=0)


class GrantTerms(Base):
    """What this site keeps of a grant that it signed and the chain has only the digest of."""

    __tablename__ = "grant_terms"
    grant_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    column_rules: Mapped[dict[str, Any]]  # column → "join", "protocol" or "none"


# ── Jobs and their work ──────────────────────────────────────────────────────────────────────


class LocalJob(Base):
    """What this site knows of a job beyond the chain: the specification and how far its part is."""

    __tablename__ = "local_job"
    id: Mapped[str] = mapped_column(String(66), primary_key=True)
    state: Mapped[str] = mapped_column(String(12), default="SUBMITTED", index=True)  # node.jobs
    specification: Mapped[dict[str, Any] | None]
    specification_digest: Mapped[str] = mapped_column(String(66))
    proposer: Mapped[str] = mapped_column(String(66), index=True)
    mine: Mapped[bool] = mapped_column(default=False)  # this site proposed it
    kind: Mapped[str] = mapped_column(String(12), default="train")
    algorithm: Mapped[str] = mapped_column(String(60), default="")
    attempt: Mapped[int] = mapped_column(default=1)
    reason: Mapped[str | None] = mapped_column(String(500))  # why it ended badly, as a code: detail
    result: Mapped[dict[str, Any] | None]  # {"digest", "parts", "metrics", "attempt"}
    model_id: Mapped[str | None] = mapped_column(String(66))
    certificate: Mapped[str | None]  # path below the home
    reconciliation: Mapped[dict[str, Any] | None]  # the verdict of node.reconciliation
    created_at: Mapped[float] = mapped_column(default=time.time, index=True)
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]


class JobParty(Base):
    """A party of a job, as the chain has it."""

    __tablename__ = "job_party"
    job_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    site: Mapped[str] = mapped_column(String(66), primary_key=True)
    role: Mapped[str] = mapped_column(String(12))
    position: Mapped[int]
    approved_block: Mapped[int | None] = mapped_column(BigInteger)
    attested: Mapped[str | None] = mapped_column(String(66))
    attested_block: Mapped[int | None] = mapped_column(BigInteger)


class Task(Base):
    """This site's part of one step of a job.  A lease proves that somebody works on it."""

    __tablename__ = "task"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_uuid)
    job_id: Mapped[str] = mapped_column(ForeignKey("local_job.id"), index=True)
    step: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int] = mapped_column(default=1)
    position: Mapped[int]  # order among the steps
    state: Mapped[str] = mapped_column(String(12), default="WAITING", index=True)  # node.jobs
    lease_owner: Mapped[str | None] = mapped_column(String(60))
    lease_until: Mapped[float | None]
    done: Mapped[int] = mapped_column(default=0)  # progress: done of total
    total: Mapped[int] = mapped_column(default=0)
    text: Mapped[str] = mapped_column(String(200), default="")
    output_digest: Mapped[str | None] = mapped_column(String(66))
    error: Mapped[dict[str, Any] | None]  # {"code", "detail"}
    rung_at: Mapped[float | None]  # when the broker was last told
    created_at: Mapped[float] = mapped_column(default=time.time)
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    __table_args__ = (UniqueConstraint("job_id", "step", "attempt"),)


class Metric(Base):
    """A point of a curve of a task (loss, auc per tree), for pages and reports."""

    __tablename__ = "metric"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(String(66), index=True)
    step: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(40))
    x: Mapped[int]
    y: Mapped[float]


class Reservation(Base):
    """A slot promised to a job until a time; the guest's node asks, all parties promise or none."""

    __tablename__ = "reservation"
    job_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    until: Mapped[float]
    created_at: Mapped[float] = mapped_column(default=time.time)


class LocalModel(Base):
    """A model, or a party's part of one."""

    __tablename__ = "local_model"
    job_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    model_id: Mapped[str | None] = mapped_column(String(66), index=True)
    algorithm: Mapped[str] = mapped_column(String(60))
    role: Mapped[str] = mapped_column(String(12))
    part_digest: Mapped[str] = mapped_column(String(66))
    path: Mapped[str]
    created_at: Mapped[float] = mapped_column(default=time.time)


# ── Governance ───────────────────────────────────────────────────────────────────────────────


class Proposal(Base):
    """A proposal to the members: what this site asked for, then what the chain has of it.

    ``kind`` and ``params`` are what its description claims; None where it names none.  ``actions``
    are ``{"target", "value", "calldata"}`` in the order of execution.
    """

    __tablename__ = "proposal"
    id: Mapped[str] = mapped_column(String(66), primary_key=True)
    state: Mapped[str] = mapped_column(String(12), default="SUBMITTED", index=True)
    # SUBMITTED or REFUSED before the chain has it; then the governor's, as this site last saw it
    kind: Mapped[str | None] = mapped_column(String(40))
    title: Mapped[str] = mapped_column(String(200), default="")
    params: Mapped[dict[str, Any] | None]
    actions: Mapped[list[Any]]
    description: Mapped[str] = mapped_column(Text)
    proposer: Mapped[str] = mapped_column(String(42))  # the account
    snapshot: Mapped[int | None] = mapped_column(BigInteger)  # block: who may vote
    deadline: Mapped[int | None] = mapped_column(BigInteger)  # block: the last one for a vote
    eta: Mapped[int | None] = mapped_column(BigInteger)  # block time from which it can be executed
    moments: Mapped[list[Any]]  # {"what", "block", "tx"} of every event about it, in order
    created_block: Mapped[int | None] = mapped_column(BigInteger, index=True)
    declared_digest: Mapped[str | None] = mapped_column(String(66))  # of the effect it promises
    effect: Mapped[dict[str, Any] | None]  # as this site simulated it last
    effect_digest: Mapped[str | None] = mapped_column(String(66))
    executed_tx: Mapped[str | None] = mapped_column(String(66))
    executed_digest: Mapped[str | None] = mapped_column(String(66))  # of what really happened
    problem: Mapped[dict[str, Any] | None]  # {"code", "detail"}: why it does not go on
    created_at: Mapped[float] = mapped_column(default=time.time)


class Vote(Base):
    """What an account said to a proposal, as the chain has it."""

    __tablename__ = "vote"
    proposal_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    voter: Mapped[str] = mapped_column(String(42), primary_key=True)
    support: Mapped[str] = mapped_column(String(8))  # for, against, abstain
    reason: Mapped[str] = mapped_column(Text)
    weight: Mapped[int] = mapped_column(BigInteger)
    block: Mapped[int] = mapped_column(BigInteger)
    tx_hash: Mapped[str] = mapped_column(String(66))


# ── Authorisation ────────────────────────────────────────────────────────────────────────────


class ApprovalRule(Base):
    """A standing rule: what it names is approved without asking (`node.rules`)."""

    __tablename__ = "approval_rule"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_uuid)
    name: Mapped[str] = mapped_column(String(120))
    conditions: Mapped[dict[str, Any]]
    created_by: Mapped[str] = mapped_column(String(120))
    until: Mapped[float]
    created_at: Mapped[float] = mapped_column(default=time.time, index=True)
    removed_at: Mapped[float | None]
    removed_by: Mapped[str | None] = mapped_column(String(120))


class RuleUse(Base):
    """Approvals that a rule gave on a day (UTC): counted in the transaction of the approval."""

    __tablename__ = "rule_use"
    rule_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    used: Mapped[int] = mapped_column(default=0)


class Approval(Base):
    """This site's own word on a job.  Without it nothing of the job runs here (`NotApprovedHere`),
    whatever the chain says."""

    __tablename__ = "approval"
    job_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    specification: Mapped[str] = mapped_column(String(66))  # the digest that was approved
    how: Mapped[str] = mapped_column(String(12))  # proposal, person or rule
    by: Mapped[str] = mapped_column(String(120))
    rule_id: Mapped[str | None] = mapped_column(String(36), index=True)
    at: Mapped[float] = mapped_column(default=time.time)


class Waiting(Base):
    """A proposal that a person has to decide here, with why no rule did (`node.waiting`)."""

    __tablename__ = "waiting"
    job_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    since: Mapped[float]
    timeout_at: Mapped[float]
    reminded_at: Mapped[float | None]
    looked_at: Mapped[float]  # when the rules were last tried
    why: Mapped[list[Any]]  # {"rule", "name", "why"}; rule null: admission itself refuses


class StopReceipt(Base):
    """A site's word that it stopped its part of a job: our own, and what partners sent us."""

    __tablename__ = "stop_receipt"
    job_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    site: Mapped[str] = mapped_column(String(66), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(String(60))  # a code
    detail: Mapped[str] = mapped_column(String(500))
    block: Mapped[int] = mapped_column(BigInteger)  # the one that said so
    block_time: Mapped[int | None] = mapped_column(BigInteger)
    noticed_at: Mapped[float]
    ended_at: Mapped[float | None]  # when the last process of the job was gone
    receipt: Mapped[dict[str, Any] | None]  # as signed, once it is
    told: Mapped[list[Any]]  # sites that have ours
    created_at: Mapped[float] = mapped_column(default=time.time)


class ReleasedNoise(Base):
    """Noise that was added to a number of a job before others saw it: drawn once, kept for ever."""

    __tablename__ = "released_noise"
    job_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    name: Mapped[str] = mapped_column(String(120), primary_key=True)
    noise: Mapped[float]


# ── Messages between sites ───────────────────────────────────────────────────────────────────


class InMessage(Base):
    """A message received, with the receipt given for it.  The body is a file below spool/."""

    __tablename__ = "in_message"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(String(66), index=True)
    step: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int]
    sender: Mapped[str] = mapped_column(String(66))
    receiver: Mapped[str] = mapped_column(String(66))
    kind: Mapped[str] = mapped_column(String(80))
    n: Mapped[int]
    digest: Mapped[str] = mapped_column(String(66))
    size: Mapped[int] = mapped_column(BigInteger)
    path: Mapped[str]
    signature: Mapped[str]  # the sender's RFC 9421 signature input and value, kept as evidence
    receipt: Mapped[dict[str, Any]]
    received_at: Mapped[float] = mapped_column(default=time.time)
    taken_at: Mapped[float | None]
    __table_args__ = (
        UniqueConstraint("job_id", "step", "attempt", "sender", "receiver", "kind", "n"),
    )


class OutMessage(Base):
    """A message sent, with the receipt that the receiver signed for it."""

    __tablename__ = "out_message"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(String(66), index=True)
    step: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int]
    sender: Mapped[str] = mapped_column(String(66))
    receiver: Mapped[str] = mapped_column(String(66))
    kind: Mapped[str] = mapped_column(String(80))
    n: Mapped[int]
    digest: Mapped[str] = mapped_column(String(66))
    size: Mapped[int] = mapped_column(BigInteger)
    receipt: Mapped[dict[str, Any] | None]
    sent_at: Mapped[float] = mapped_column(default=time.time)
    __table_args__ = (
        UniqueConstraint("job_id", "step", "attempt", "sender", "receiver", "kind", "n"),
    )


class SeenNonce(Base):
    """Nonces of accepted requests, kept a little longer than the clock window: no replay."""

    __tablename__ = "seen_nonce"
    site: Mapped[str] = mapped_column(String(66), primary_key=True)
    nonce: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[float] = mapped_column(index=True)


# ── The audit log ────────────────────────────────────────────────────────────────────────────


class AuditPending(Base):
    """An entry recorded in the transaction of what happened, waiting for its place in the log."""

    __tablename__ = "audit_pending"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    entry: Mapped[bytes] = mapped_column(LargeBinary)  # canonical JSON
    created_at: Mapped[float] = mapped_column(default=time.time)


class AuditEntry(Base):
    """An entry with its place.  The canonical bytes are the leaf data, which commits to its fields;
    what they are lies in `AuditPayload`."""

    __tablename__ = "audit_entry"
    index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(String(36), unique=True)
    type: Mapped[str] = mapped_column(String(60), index=True)
    subject: Mapped[str] = mapped_column(String(80), index=True)
    actor: Mapped[str] = mapped_column(String(80))
    time: Mapped[str] = mapped_column(String(40), index=True)
    leaf_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    entry: Mapped[bytes] = mapped_column(LargeBinary)


class PayloadKey(Base):
    """The key that seals the payloads of a scope: a job, a dataset, or what else entries tell of.

    Erasing the scope deletes it.
    """

    __tablename__ = "payload_key"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    scope: Mapped[str] = mapped_column(String(80), unique=True)
    key: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[float] = mapped_column(default=time.time)
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  ids are not used again


class AuditPayload(Base):
    """What an entry's commitments are of, sealed; ``id`` is the entry's (node.audit.payloads)."""

    __tablename__ = "audit_payload"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("payload_key.id"), index=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


class Erasure(Base):
    """A scope that was erased, and the receipt that the audit key signed (node.audit.erasure)."""

    __tablename__ = "erasure"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    scope: Mapped[str] = mapped_column(String(80), index=True)
    receipt: Mapped[dict[str, Any]]
    erased_at: Mapped[float] = mapped_column(default=time.time)


class ErasedEntry(Base):
    """An entry whose payload an erasure took away; its leaf stays."""

    __tablename__ = "erased_entry"
    index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    erasure_id: Mapped[int] = mapped_column(ForeignKey("erasure.id"), index=True)


class Anchor(Base):
    """A head of this site's log that the chain holds."""

    __tablename__ = "anchor"
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    root: Mapped[str] = mapped_column(String(66))
    block: Mapped[int] = mapped_column(BigInteger)
    tx_hash: Mapped[str] = mapped_column(String(66))
    anchored_at: Mapped[float] = mapped_column(default=time.time)
    state: Mapped[str] = mapped_column(String(12), default="PENDING", index=True)
    # PENDING → WITNESSED or UNWITNESSED, as the chain says; from UNWITNESSED back when one cosigns
    witnesses: Mapped[list[Any]] = mapped_column(default=list)  # members that the chain counted
    needed: Mapped[int] = mapped_column(default=0)  # as many as the consortium asks for


class Challenge(Base):
    """A signed head that its site has to prove on the chain (node.equivocations)."""

    __tablename__ = "challenge"
    id: Mapped[str] = mapped_column(String(66), primary_key=True)
    site: Mapped[str] = mapped_column(String(66), index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    root: Mapped[str] = mapped_column(String(66))
    until: Mapped[int] = mapped_column(BigInteger)  # block time in Unix seconds
    block: Mapped[int] = mapped_column(BigInteger)  # of its opening
    state: Mapped[str] = mapped_column(String(12), default="OPEN", index=True)
    # OPEN → ANSWERED or SETTLED; SETTLED → LATE
    problem: Mapped[str] = mapped_column(String(500), default="")  # why this site cannot answer


class AuditRequest(Base):
    """What somebody asked of a site before the chain, and what it answered (chain.audit_requests).

    Silence is what the block time says of one that has no answer.
    """

    __tablename__ = "audit_request"
    id: Mapped[str] = mapped_column(String(66), primary_key=True)
    site: Mapped[str] = mapped_column(String(66), index=True)
    by: Mapped[str] = mapped_column(String(66))  # member
    auditor: Mapped[str | None] = mapped_column(String(66))  # site with the auditor's role
    kind: Mapped[str] = mapped_column(String(31))
    digest: Mapped[str] = mapped_column(String(66))  # of the question
    until: Mapped[int] = mapped_column(BigInteger)  # block time in Unix seconds, exclusive
    block: Mapped[int] = mapped_column(BigInteger, index=True)
    pack: Mapped[str | None] = mapped_column(String(66))  # digest of the answer
    answered_block: Mapped[int | None] = mapped_column(BigInteger)
    is_late: Mapped[bool] = mapped_column(default=False)
    is_silence_told: Mapped[bool] = mapped_column(default=False)  # entered and alerted here


class AuditQuestion(Base):
    """A question that this site asks or was asked, and what came of it (node.audit_requests)."""

    __tablename__ = "audit_question"
    id: Mapped[str] = mapped_column(String(66), primary_key=True)  # of the request
    asker: Mapped[str] = mapped_column(String(66))
    content: Mapped[str] = mapped_column(Text)  # the file, whose digest the request has
    created_at: Mapped[float] = mapped_column(default=time.time)
    brought_at: Mapped[float | None]  # when the asked site took it
    owed_since: Mapped[float | None]  # an answer stands on the chain, and its file is not here
    problem: Mapped[str] = mapped_column(String(500), default="")  # why it does not go on
    checked_at: Mapped[float | None]
    report: Mapped[dict[str, Any] | None]  # of `chain.audit_questions.verify_answer`, in short


class SiteMark(Base):
    """A key of a site that was shown to have signed two tales of its log (chain.equivocations)."""

    __tablename__ = "site_mark"
    site: Mapped[str] = mapped_column(String(66), primary_key=True)
    key: Mapped[str] = mapped_column(String(42), primary_key=True)  # an address
    kind: Mapped[str] = mapped_column(String(20))
    size: Mapped[int] = mapped_column(BigInteger)
    block: Mapped[int] = mapped_column(BigInteger)


class PublishedHead(Base):
    """A head of this site's log that is shown to witnesses; its root is the log's."""

    __tablename__ = "published_head"
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    published_at: Mapped[float]
    line: Mapped[str] = mapped_column(String(400), default="")  # by this site's anchor key


class Cosignature(Base):
    """What another site said of a published head: the lines of its note, and the time in them."""

    __tablename__ = "cosignature"
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    witness: Mapped[str] = mapped_column(String(66), primary_key=True)
    line: Mapped[str] = mapped_column(String(400))
    time: Mapped[int] = mapped_column(BigInteger)  # Unix seconds, as the witness says
    account_line: Mapped[str] = mapped_column(String(400), default="")  # by its anchor key, if any


class WitnessedHead(Base):
    """The last head of another site's log that this site cosigned.  Size 0: none yet."""

    __tablename__ = "witnessed_head"
    log_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    root: Mapped[str] = mapped_column(String(66))
    note: Mapped[str] = mapped_column(Text)  # with the log's signatures
    cosigned_at: Mapped[float | None]
    looked_at: Mapped[float | None]
    problem: Mapped[str] = mapped_column(String(500))  # why it was not cosigned at the last look


class LogConflict(Base):
    """Two heads that a log signed and that do not go together: ``fork`` or ``unproven``."""

    __tablename__ = "log_conflict"
    __table_args__ = (UniqueConstraint("log_id", "shown_digest"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    log_id: Mapped[str] = mapped_column(String(66))
    kind: Mapped[str] = mapped_column(String(12))
    posted: Mapped[str] = mapped_column(String(12), default="")  # to the chain: node.equivocations
    known: Mapped[str] = mapped_column(Text)  # the note that was cosigned
    shown: Mapped[str] = mapped_column(Text)
    shown_digest: Mapped[str] = mapped_column(String(66))
    found_at: Mapped[float]


class MirroredLog(Base):
    """How far this site's copy of another log is, and how it fared (`node.mirror`)."""

    __tablename__ = "mirrored_log"
    log_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    root: Mapped[str] = mapped_column(String(66))
    entries: Mapped[int] = mapped_column(BigInteger, default=0)  # the first so many are copied
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    last_time: Mapped[float] = mapped_column(default=0.0)  # the latest that a copied entry tells
    reread: Mapped[int] = mapped_column(BigInteger, default=0)  # the next full tile to read again
    reread_at: Mapped[float | None]  # when the last of them was
    copied_at: Mapped[float | None]
    looked_at: Mapped[float | None]
    problem: Mapped[str] = mapped_column(String(500), default="")  # of the last look
    withheld: Mapped[str] = mapped_column(String(500), default="")  # why entries are not shown


class Alert(Base):
    """Something to be looked at (`node.alerts`), open until it is over or acknowledged."""

    __tablename__ = "alert"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    severity: Mapped[str] = mapped_column(String(8))
    subject: Mapped[str] = mapped_column(String(80))
    about: Mapped[str] = mapped_column(String(64))  # digest that tells alike ones apart
    evidence: Mapped[dict[str, Any]]
    first_seen: Mapped[float] = mapped_column(index=True)
    last_seen: Mapped[float]
    count: Mapped[int]
    over_at: Mapped[float | None]  # seen again after this it is another alert
    acknowledged_at: Mapped[float | None]
    acknowledged_by: Mapped[str | None] = mapped_column(String(80))
    __table_args__ = (Index("ix_alert_of", "kind", "subject"),)


class WebhookDelivery(Base):
    """A message to the webhook until it is delivered or given up (`node.webhook`)."""

    __tablename__ = "webhook_delivery"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    body: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[float | None] = mapped_column(index=True)  # None: delivered or given up
    delivered_at: Mapped[float | None]
    problem: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[float]


class MonitorState(Base):
    """How far the monitor has read; one row (`node.monitor`)."""

    __tablename__ = "monitor_state"
    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    first_block: Mapped[int] = mapped_column(BigInteger)  # what happened before it is no news
    event: Mapped[int] = mapped_column(BigInteger, default=0)  # id of the last one looked at
    checked_at: Mapped[float | None]  # when this site's own log was last read as a whole


class PeerEvidence(Base):
    """What a partner showed of its log for a job, as signed by it."""

    __tablename__ = "peer_evidence"
    job_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    site: Mapped[str] = mapped_column(String(66), primary_key=True)
    evidence: Mapped[dict[str, Any]]
    received_at: Mapped[float] = mapped_column(default=time.time)


# ── Housekeeping ─────────────────────────────────────────────────────────────────────────────


class Lease(Base):
    """Who alone may do what (``sync``) until when."""

    __tablename__ = "lease"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(60))
    until: Mapped[float]


class IdempotencyKey(Base):
    """The first answer to a request, given again when the same actor repeats the same request."""

    __tablename__ = "idempotency_key"
    actor: Mapped[str] = mapped_column(String(80), primary_key=True)
    key: Mapped[str] = mapped_column(String(120), primary_key=True)
    request_digest: Mapped[str] = mapped_column(String(66))
    status: Mapped[int | None]
    body: Mapped[dict[str, Any] | None]
    created_at: Mapped[float] = mapped_column(default=time.time)


# ── People ───────────────────────────────────────────────────────────────────────────────────


class Person(Base):
    """Somebody who may act at this site, by the account that he or she signs with."""

    __tablename__ = "person"
    address: Mapped[str] = mapped_column(String(42), primary_key=True)  # 0x-hex, lower case
    name: Mapped[str] = mapped_column(String(120))
    roles: Mapped[list[Any]]  # of node.people.ROLES
    until: Mapped[float | None]
    disabled_at: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=time.time)


class PersonSession(Base):
    """A browser that is signed in, by the keyed digest of its cookie; no person: the operator."""

    __tablename__ = "person_session"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    person: Mapped[str | None] = mapped_column(ForeignKey("person.address"), index=True)
    expires_at: Mapped[float] = mapped_column(index=True)
    revoked_at: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=time.time)


class ApiKey(Base):
    """A program's credential; of its secret only the SHA-256 is kept."""

    __tablename__ = "api_key"
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    person: Mapped[str] = mapped_column(ForeignKey("person.address"), index=True)
    name: Mapped[str] = mapped_column(String(120))
    roles: Mapped[list[Any]]  # never more than the person's own at the time of use
    expires_at: Mapped[float]
    last_used_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=time.time)


class SignInNonce(Base):
    """A nonce that began a session, until it would be too old anyway (node.sign_in)."""

    __tablename__ = "sign_in_nonce"
    nonce: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[float] = mapped_column(index=True)


# ── Joining, and keys that follow one another ────────────────────────────────────────────────


class ReceivedRequest(Base):
    """An institution's request for admission, as its account signed it (node.joining)."""

    __tablename__ = "received_request"
    id: Mapped[str] = mapped_column(String(66), primary_key=True)  # digest of the document
    account: Mapped[str] = mapped_column(String(42), unique=True)  # lower case; the newest counts
    name: Mapped[str] = mapped_column(String(120))
    document: Mapped[dict[str, Any]]
    received_at: Mapped[float] = mapped_column(default=time.time, index=True)
    dismissed_at: Mapped[float | None]
    proposal: Mapped[str | None] = mapped_column(String(66))  # that sponsors it


class KeyRotation(Base):
    """A key of this site that takes the place of another (node.rotation)."""

    __tablename__ = "key_rotation"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    purpose: Mapped[str] = mapped_column(String(12))
    state: Mapped[str] = mapped_column(String(12), default="ADDING", index=True)
    # ADDING → OVERLAP → ENDING → ENDED; from ADDING also ABANDONED
    public_key: Mapped[str] = mapped_column(String(66))
    key_id: Mapped[str] = mapped_column(String(66), unique=True)
    old_key_id: Mapped[str] = mapped_column(String(66))
    created_at: Mapped[float] = mapped_column(default=time.time)
    switched_at: Mapped[float | None]  # since then this site signs with the new key
    ended_at: Mapped[float | None]
    reason: Mapped[str | None] = mapped_column(String(500))  # why it was abandoned


class Store:
    """The database of a site.  ``with store.begin() as session`` is one transaction.

    Raises :class:`Unavailable` (``DatabaseUnavailable``) when the database does not answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self._writers = sessionmaker(self.engine, expire_on_commit=False)
        event.listen(self._writers, "before_commit", _insert_rows)
        reading = self.engine.execution_options(reading=True)
        self._readers = sessionmaker(reading, expire_on_commit=False)

    def name_source(self, source: str) -> None:
        """Say whose store this is: audit entries recorded in its sessions name it."""
        self._writers.configure(info={"source": source})

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A writing transaction: committed at the end, rolled back on any exception."""
        with self._opened(self._writers) as session:
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A snapshot to read from; it waits for no writer, and nothing may be written in it."""
        with self._opened(self._readers) as session:
            yield session

    @contextmanager
    def _opened(self, sessions: sessionmaker[Session]) -> Iterator[Session]:
        try:
            with sessions.begin() as session:
                yield session
        except OperationalError as error:
            raise Unavailable(
                "DatabaseUnavailable",
                f"the database did not answer: {type(error.orig).__name__}",
                hint="check database_url, the disk and that no other program holds the database",
            ) from error

    def dispose(self) -> None:
        self.engine.dispose()


_ROWS = "rows to insert"
Row = tuple[Any, ...]


def insert_later(session: Session, table: type[Base], row: dict[str, Any]) -> None:
    """Insert a row with the others of its table at the end of the transaction.

    For rows that come by the thousand and that their transaction does not read.  All rows of a
    table have the same columns, as the driver takes them: no default of a column is filled in.
    """
    session.info.setdefault(_ROWS, {}).setdefault(table, []).append(row)


def _insert_rows(session: Session) -> None:
    if session.in_nested_transaction():
        return  # rolled back, they would be lost to the transaction around it
    waiting: dict[type[Base], list[dict[str, Any]]] = session.info.pop(_ROWS, {})
    for table, rows in waiting.items():
        insert_plain(session.connection(), table, list(rows[0]), [tuple(r.values()) for r in rows])


def insert_plain(
    connection: Connection, table: type[Base], columns: Sequence[str], rows: Sequence[Row]
) -> None:
    """Insert rows as the driver takes them, with no work on each value: three times as fast."""
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    names = ", ".join(f'"{column}"' for column in columns)
    marks = ", ".join([mark] * len(columns))
    statement = f'INSERT INTO "{table.__tablename__}" ({names}) VALUES ({marks})'  # noqa: S608
    connection.exec_driver_sql(statement, list(rows))


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # The driver must not open transactions by itself: BEGIN IMMEDIATE below does, so that
        # two writers queue at the start instead of failing in the middle.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # a receipt is given only for what is on disk
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine
