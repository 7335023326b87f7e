"""What came of holding the parties' logs of a job against each other

Revision 0013, after 0012.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("local_job") as table:
        table.add_column(sa.Column("reconciliation", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("local_job") as table:
        table.drop_column("reconciliation")
