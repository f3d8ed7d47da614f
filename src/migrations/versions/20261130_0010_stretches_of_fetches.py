"""stretches of fetches

Revision: 0010. A nullable column without a default: no row is rewritten, and old code passes it over.
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
