"""Heads that this site published, who cosigned them, and what it saw of others' logs

Revision 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "published_head",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("published_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("size"),
    )
    op.create_table(
        "cosignature",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("witness", sa.String(length=66), nullable=False),
        sa.Column("line", sa.String(length=400), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("size", "witness"),
    )
    op.create_table(
        "witnessed_head",
        sa.Column("log_id", sa.String(length=66), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.String(length=66), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("cosigned_at", sa.Double(), nullable=True),
        sa.Column("looked_at", sa.Double(), nullable=True),
        sa.Column("problem", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("log_id"),
    )
    op.create_table(
        "log_conflict",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("log_id", sa.String(length=66), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("known", sa.Text(), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.Column("shown_digest", sa.String(length=66), nullable=False),
        sa.Column("found_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("log_id", "shown_digest"),
    )


def downgrade() -> None:
    op.drop_table("log_conflict")
    op.drop_table("witnessed_head")
    op.drop_table("cosignature")
    op.drop_table("published_head")
