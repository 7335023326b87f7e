"""Heads signed for contracts, and what the chain says of witnesses

Revision 0009, after 0008.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


TEXTS = (
    ("published_head", "line", 400),
    ("cosignature", "account_line", 400),
    ("log_conflict", "posted", 12),
)


def upgrade() -> None:
    for name, column, length in TEXTS:
        _add(name, sa.Column(column, sa.String(length), nullable=False, server_default=""))
    # What was anchored before anybody was counted has no witness.
    state = sa.Column("state", sa.String(12), nullable=False, server_default="UNWITNESSED")
    _add("anchor", state)
    _add("anchor", sa.Column("witnesses", sa.JSON(), nullable=False, server_default="[]"))
    _add("anchor", sa.Column("needed", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_anchor_state", "anchor", ["state"])
    op.create_table(
        "challenge",
        sa.Column("id", sa.String(length=66), nullable=False),
        sa.Column("site", sa.String(length=66), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.String(length=66), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("problem", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "site_mark",
        sa.Column("site", sa.String(length=66), nullable=False),
        sa.Column("key", sa.String(length=42), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", "key"),
    )
    op.create_index("ix_challenge_site", "challenge", ["site"])
    op.create_index("ix_challenge_state", "challenge", ["state"])


def downgrade() -> None:
    op.drop_table("site_mark")
    op.drop_table("challenge")
    op.drop_index("ix_anchor_state", "anchor")
    for column in ("needed", "witnesses", "state"):
        _drop("anchor", column)
    for name, column, _ in TEXTS:
        _drop(name, column)


def _add(name: str, column: sa.Column[Any]) -> None:
    """The default is for the rows that are there; later ones say what they have."""
    with op.batch_alter_table(name) as table:
        table.add_column(column)
    with op.batch_alter_table(name) as table:
        table.alter_column(column.name, server_default=None)


def _drop(name: str, column: str) -> None:
    with op.batch_alter_table(name) as table:
        table.drop_column(column)
