"""What the entries of the audit log commit to, sealed, and the keys that erasure deletes

Revision 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "payload_key",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("scope"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit_payload",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("key_id", BIG_ID, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["payload_key.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_audit_payload_key_id", "audit_payload", ["key_id"], unique=False)
    op.create_table(
        "erasure",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("scope", sa.String(length=80), nullable=False),
        sa.Column("receipt", sa.JSON(), nullable=False),
        sa.Column("erased_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_erasure_scope", "erasure", ["scope"], unique=False)
    op.create_table(
        "erased_entry",
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("erasure_id", BIG_ID, nullable=False),
        sa.ForeignKeyConstraint(["erasure_id"], ["erasure.id"]),
        sa.PrimaryKeyConstraint("index"),
    )
    op.create_index("ix_erased_entry_erasure_id", "erased_entry", ["erasure_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_erased_entry_erasure_id", table_name="erased_entry")
    op.drop_table("erased_entry")
    op.drop_index("ix_erasure_scope", table_name="erasure")
    op.drop_table("erasure")
    op.drop_index("ix_audit_payload_key_id", table_name="audit_payload")
    op.drop_table("audit_payload")
    op.drop_table("payload_key")
