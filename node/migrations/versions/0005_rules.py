"""Rules, approvals, what waits, and receipts of stops

Revision 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Jobs that were under way when approvals began to be kept: what this site proposed, and what it
# had asked the chain to approve.  (A colon before a word would be a parameter.)
KEEP_PROPOSED = """
INSERT INTO approval (job_id, specification, how, by, at)
SELECT id, specification_digest, 'proposal', 'operator', created_at FROM local_job WHERE mine
"""
KEEP_APPROVED = """
INSERT INTO approval (job_id, specification, how, by, at)
SELECT job.id, job.specification_digest, 'person', 'operator', tx.created_at
FROM local_job AS job JOIN chain_tx AS tx ON tx.intent = 'job\\:' || job.id || '\\:approve'
WHERE NOT job.mine
"""


def upgrade() -> None:
    op.create_table(
        "approval",
        sa.Column("job_id", sa.String(length=66), nullable=False),
        sa.Column("specification", sa.String(length=66), nullable=False),
        sa.Column("how", sa.String(length=12), nullable=False),
        sa.Column("by", sa.String(length=120), nullable=False),
        sa.Column("rule_id", sa.String(length=36), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index(op.f("ix_approval_rule_id"), "approval", ["rule_id"], unique=False)
    op.create_table(
        "approval_rule",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("removed_at", sa.Double(), nullable=True),
        sa.Column("removed_by", sa.String(length=120), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_approval_rule_created_at"), "approval_rule", ["created_at"], unique=False
    )
    op.create_table(
        "released_noise",
        sa.Column("job_id", sa.String(length=66), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("noise", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "name"),
    )
    op.create_table(
        "rule_use",
        sa.Column("rule_id", sa.String(length=36), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("rule_id", "day"),
    )
    op.create_table(
        "stop_receipt",
        sa.Column("job_id", sa.String(length=66), nullable=False),
        sa.Column("site", sa.String(length=66), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=60), nullable=False),
        sa.Column("detail", sa.String(length=500), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("block_time", sa.BigInteger(), nullable=True),
        sa.Column("noticed_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("receipt", sa.JSON(), nullable=True),
        sa.Column("told", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "site", "attempt"),
    )
    op.create_table(
        "waiting",
        sa.Column("job_id", sa.String(length=66), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("timeout_at", sa.Double(), nullable=False),
        sa.Column("reminded_at", sa.Double(), nullable=True),
        sa.Column("looked_at", sa.Double(), nullable=False),
        sa.Column("why", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.execute(KEEP_PROPOSED)
    op.execute(KEEP_APPROVED)


def downgrade() -> None:
    for table in ("waiting", "stop_receipt", "rule_use", "released_noise"):
        op.drop_table(table)
    op.drop_index(op.f("ix_approval_rule_created_at"), table_name="approval_rule")
    op.drop_table("approval_rule")
    op.drop_index(op.f("ix_approval_rule_id"), table_name="approval")
    op.drop_table("approval")
