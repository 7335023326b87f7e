"""Column rules of grants

Revision 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "grant_terms",
        sa.Column("grant_id", sa.String(length=66), nullable=False),
        sa.Column("column_rules", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("grant_id"),
    )


def downgrade() -> None:
    op.drop_table("grant_terms")
