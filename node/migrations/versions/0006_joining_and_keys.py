"""Requests for admission, and keys that follow one another

Revision 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "received_request",
        sa.Column("id", sa.String(length=66), nullable=False),
        sa.Column("account", sa.String(length=42), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("dismissed_at", sa.Double(), nullable=True),
        sa.Column("proposal", sa.String(length=66), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account"),
    )
    op.create_index(
        op.f("ix_received_request_received_at"), "received_request", ["received_at"], unique=False
    )
    op.create_table(
        "key_rotation",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("purpose", sa.String(length=12), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("public_key", sa.String(length=66), nullable=False),
        sa.Column("key_id", sa.String(length=66), nullable=False),
        sa.Column("old_key_id", sa.String(length=66), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("switched_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key_id"),
    )
    op.create_index(op.f("ix_key_rotation_state"), "key_rotation", ["state"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_key_rotation_state"), table_name="key_rotation")
    op.drop_table("key_rotation")
    op.drop_index(op.f("ix_received_request_received_at"), table_name="received_request")
    op.drop_table("received_request")
