"""the length of periods that are fetched from DataHub

Revision: 0010, after 0009.

A nullable column without a default rewrites no rows, and the previous version ignores it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datahub_jobs", sa.Column("fetch_hours", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("datahub_jobs", "fetch_hours")
