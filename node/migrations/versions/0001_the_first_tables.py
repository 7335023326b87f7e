"""The first tables

Revision 0001, after nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "anchor",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.String(length=66), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("tx_hash", sa.String(length=66), nullable=False),
        sa.Column("anchored_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("size"),
    )
    op.create_table(
        "audit_entry",
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("time", sa.String(length=40), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("index"),
        sa.UniqueConstraint("id"),
    )
    op.create_index(op.f("ix_audit_entry_subject"), "audit_entry", ["subject"], unique=False)
    op.create_index(op.f("ix_audit_entry_time"), "audit_entry", ["time"], unique=False)
    op.create_index(op.f("ix_audit_entry_type"), "audit_entry", ["type"], unique=False)
    op.create_table(
        "audit_pending",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "budget",
        sa.Column("grant_id", sa.String(length=66), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("grant_id"),
    )
    op.create_table(
        "chain_event",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.String(length=66), nullable=False),
        sa.Column("tx_hash", sa.String(length=66), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("contract", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("args", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("block", "log_index"),
    )
    op.create_index(op.f("ix_chain_event_block"), "chain_event", ["block"], unique=False)
    op.create_index(op.f("ix_chain_event_tx_hash"), "chain_event", ["tx_hash"], unique=False)
    op.create_index("ix_event_kind", "chain_event", ["contract", "name"], unique=False)
    op.create_table(
        "chain_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("head_block", sa.BigInteger(), nullable=False),
        sa.Column("head_time", sa.BigInteger(), nullable=False),
        sa.Column("cursor_block", sa.BigInteger(), nullable=False),
        sa.Column("cursor_hash", sa.String(length=66), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("problem", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "chain_tx",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("intent", sa.String(length=200), nullable=False),
        sa.Column("call", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=True),
        sa.Column("raw", sa.String(), nullable=True),
        sa.Column("tx_hash", sa.String(length=66), nullable=True),
        sa.Column("block", sa.BigInteger(), nullable=True),
        sa.Column("gas_used", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("intent"),
    )
    op.create_index(op.f("ix_chain_tx_state"), "chain_tx", ["state"], unique=False)
    op.create_table(
        "idempotency_key",
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("request_digest", sa.String(length=66), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "in_message",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.String(length=66), nullable=False),
        sa.Column("step", sa.String(length=20), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String(length=66), nullable=False),
        sa.Column("receiver", sa.String(length=66), nullable=False),
        sa.Column("kind", sa.String(length=80), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=66), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.Column("receipt", sa.JSON(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("taken_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job_id", "step", "attempt", "sender", "receiver", "kind", "n"),
    )
    op.create_index(op.f("ix_in_message_job_id"), "in_message", ["job_id"], unique=False)
    op.create_table(
        "job_party",
        sa.Column("job_id", sa.String(length=66), nullable=False),
        sa.Column("site", sa.String(length=66), nullable=False),
        sa.Column("role", sa.String(length=12), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("approved_block", sa.BigInteger(), nullable=True),
        sa.Column("attested", sa.String(length=66), nullable=True),
        sa.Column("attested_block", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "site"),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=60), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "local_dataset",
        sa.Column("id", sa.String(length=66), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("id_column", sa.String(length=120), nullable=False),
        sa.Column("label_column", sa.String(length=120), nullable=True),
        sa.Column("schema", sa.JSON(), nullable=False),
        sa.Column("schema_digest", sa.String(length=66), nullable=False),
        sa.Column("rows_root", sa.String(length=66), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("columns", sa.Integer(), nullable=False),
        sa.Column("commitment_key", sa.LargeBinary(), nullable=False),
        sa.Column("file_digest", sa.String(length=66), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", "version"),
    )
    op.create_table(
        "local_job",
        sa.Column("id", sa.String(length=66), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("specification", sa.JSON(), nullable=True),
        sa.Column("specification_digest", sa.String(length=66), nullable=False),
        sa.Column("proposer", sa.String(length=66), nullable=False),
        sa.Column("mine", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("algorithm", sa.String(length=60), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("model_id", sa.String(length=66), nullable=True),
        sa.Column("certificate", sa.String(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_local_job_created_at"), "local_job", ["created_at"], unique=False)
    op.create_index(op.f("ix_local_job_proposer"), "local_job", ["proposer"], unique=False)
    op.create_index(op.f("ix_local_job_state"), "local_job", ["state"], unique=False)
    op.create_table(
        "local_model",
        sa.Column("job_id", sa.String(length=66), nullable=False),
        sa.Column("model_id", sa.String(length=66), nullable=True),
        sa.Column("algorithm", sa.String(length=60), nullable=False),
        sa.Column("role", sa.String(length=12), nullable=False),
        sa.Column("part_digest", sa.String(length=66), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index(op.f("ix_local_model_model_id"), "local_model", ["model_id"], unique=False)
    op.create_table(
        "metric",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.String(length=66), nullable=False),
        sa.Column("step", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("x", sa.Integer(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_metric_job_id"), "metric", ["job_id"], unique=False)
    op.create_table(
        "out_message",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.String(length=66), nullable=False),
        sa.Column("step", sa.String(length=20), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String(length=66), nullable=False),
        sa.Column("receiver", sa.String(length=66), nullable=False),
        sa.Column("kind", sa.String(length=80), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=66), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("receipt", sa.JSON(), nullable=True),
        sa.Column("sent_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job_id", "step", "attempt", "sender", "receiver", "kind", "n"),
    )
    op.create_index(op.f("ix_out_message_job_id"), "out_message", ["job_id"], unique=False)
    op.create_table(
        "peer_evidence",
        sa.Column("job_id", sa.String(length=66), nullable=False),
        sa.Column("site", sa.String(length=66), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "site"),
    )
    op.create_table(
        "reservation",
        sa.Column("job_id", sa.String(length=66), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_table(
        "seen_nonce",
        sa.Column("site", sa.String(length=66), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("site", "nonce"),
    )
    op.create_index(op.f("ix_seen_nonce_expires_at"), "seen_nonce", ["expires_at"], unique=False)
    op.create_table(
        "task",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("job_id", sa.String(length=66), nullable=False),
        sa.Column("step", sa.String(length=20), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("lease_owner", sa.String(length=60), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(length=200), nullable=False),
        sa.Column("output_digest", sa.String(length=66), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("rung_at", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["local_job.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job_id", "step", "attempt"),
    )
    op.create_index(op.f("ix_task_job_id"), "task", ["job_id"], unique=False)
    op.create_index(op.f("ix_task_state"), "task", ["state"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_task_state"), table_name="task")
    op.drop_index(op.f("ix_task_job_id"), table_name="task")
    op.drop_table("task")
    op.drop_index(op.f("ix_seen_nonce_expires_at"), table_name="seen_nonce")
    op.drop_table("seen_nonce")
    op.drop_table("reservation")
    op.drop_table("peer_evidence")
    op.drop_index(op.f("ix_out_message_job_id"), table_name="out_message")
    op.drop_table("out_message")
    op.drop_index(op.f("ix_metric_job_id"), table_name="metric")
    op.drop_table("metric")
    op.drop_index(op.f("ix_local_model_model_id"), table_name="local_model")
    op.drop_table("local_model")
    op.drop_index(op.f("ix_local_job_state"), table_name="local_job")
    op.drop_index(op.f("ix_local_job_proposer"), table_name="local_job")
    op.drop_index(op.f("ix_local_job_created_at"), table_name="local_job")
    op.drop_table("local_job")
    op.drop_table("local_dataset")
    op.drop_table("lease")
    op.drop_table("job_party")
    op.drop_index(op.f("ix_in_message_job_id"), table_name="in_message")
    op.drop_table("in_message")
    op.drop_table("idempotency_key")
    op.drop_index(op.f("ix_chain_tx_state"), table_name="chain_tx")
    op.drop_table("chain_tx")
    op.drop_table("chain_state")
    op.drop_index("ix_event_kind", table_name="chain_event")
    op.drop_index(op.f("ix_chain_event_tx_hash"), table_name="chain_event")
    op.drop_index(op.f("ix_chain_event_block"), table_name="chain_event")
    op.drop_table("chain_event")
    op.drop_table("budget")
    op.drop_table("audit_pending")
    op.drop_index(op.f("ix_audit_entry_type"), table_name="audit_entry")
    op.drop_index(op.f("ix_audit_entry_time"), table_name="audit_entry")
    op.drop_index(op.f("ix_audit_entry_subject"), table_name="audit_entry")
    op.drop_table("audit_entry")
    op.drop_table("anchor")
