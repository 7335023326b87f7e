"""Saved views that tell when their list has something new

Revision 0014, after 0013.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "watched_view",
        sa.Column("view", sa.String(length=36), nullable=False),
        sa.Column("seen", sa.JSON(), nullable=True),
        sa.Column("looked_at", sa.Double(), nullable=True),
        sa.Column("found_at", sa.Double(), nullable=True),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("view"),
    )


def downgrade() -> None:
    op.drop_table("watched_view")
