"""What is asked of sites before the chain, and the questions and answers of this one

Revision 0012, after 0011.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_request",
        sa.Column("id", sa.String(length=66), nullable=False),
        sa.Column("site", sa.String(length=66), nullable=False),
        sa.Column("by", sa.String(length=66), nullable=False),
        sa.Column("auditor", sa.String(length=66), nullable=True),
        sa.Column("kind", sa.String(length=31), nullable=False),
        sa.Column("digest", sa.String(length=66), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("pack", sa.String(length=66), nullable=True),
        sa.Column("answered_block", sa.BigInteger(), nullable=True),
        sa.Column("is_late", sa.Boolean(), nullable=False),
        sa.Column("is_silence_told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_audit_request_site", "audit_request", ["site"])
    op.create_index("ix_audit_request_block", "audit_request", ["block"])
    op.create_table(
        "audit_question",
        sa.Column("id", sa.String(length=66), nullable=False),
        sa.Column("asker", sa.String(length=66), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("brought_at", sa.Double(), nullable=True),
        sa.Column("owed_since", sa.Double(), nullable=True),
        sa.Column("problem", sa.String(length=500), nullable=False),
        sa.Column("checked_at", sa.Double(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("audit_question")
    op.drop_table("audit_request")
