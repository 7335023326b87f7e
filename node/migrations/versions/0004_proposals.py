"""Proposals and votes

Revision 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "proposal",
        sa.Column("id", sa.String(length=66), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=True),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("params", sa.JSON(), nullable=True),
        sa.Column("actions", sa.JSON(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("proposer", sa.String(length=42), nullable=False),
        sa.Column("snapshot", sa.BigInteger(), nullable=True),
        sa.Column("deadline", sa.BigInteger(), nullable=True),
        sa.Column("eta", sa.BigInteger(), nullable=True),
        sa.Column("moments", sa.JSON(), nullable=False),
        sa.Column("created_block", sa.BigInteger(), nullable=True),
        sa.Column("declared_digest", sa.String(length=66), nullable=True),
        sa.Column("effect", sa.JSON(), nullable=True),
        sa.Column("effect_digest", sa.String(length=66), nullable=True),
        sa.Column("executed_tx", sa.String(length=66), nullable=True),
        sa.Column("executed_digest", sa.String(length=66), nullable=True),
        sa.Column("problem", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_proposal_created_block"), "proposal", ["created_block"], unique=False)
    op.create_index(op.f("ix_proposal_state"), "proposal", ["state"], unique=False)
    op.create_table(
        "vote",
        sa.Column("proposal_id", sa.String(length=66), nullable=False),
        sa.Column("voter", sa.String(length=42), nullable=False),
        sa.Column("support", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("weight", sa.BigInteger(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("tx_hash", sa.String(length=66), nullable=False),
        sa.PrimaryKeyConstraint("proposal_id", "voter"),
    )


def downgrade() -> None:
    op.drop_table("vote")
    op.drop_index(op.f("ix_proposal_state"), table_name="proposal")
    op.drop_index(op.f("ix_proposal_created_block"), table_name="proposal")
    op.drop_table("proposal")
