"""which processes work, and indexes for what operators count

Revision: 0015, after 0014.

New nullable columns and partial indexes only. The indexes contain the rows that a gauge counts, which are
few. Webs read these gauges at each scrape.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

usable_from = "0014"

_INDEXES = {
    "ix_batches_declined": "batches (ended_at) WHERE state = 'DECLINED'",
    "ix_ggos_key_mismatch": "ggos (created_at) WHERE key_mismatch",
    "ix_webhook_deliveries_given_up": "webhook_deliveries (ended_at) WHERE state = 'GIVEN_UP'",
}


def upgrade() -> None:
    # The indexes are built while others write. One that an earlier process left incomplete is dropped
    # first.
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        for name, rows in _INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {rows}")
        op.execute("RESET lock_timeout")
    op.add_column("process_secrets", sa.Column("kind", sa.Text()))
    op.add_column("process_secrets", sa.Column("clock_skew_seconds", sa.Float()))
    op.add_column("process_secrets", sa.Column("works_until", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("process_secrets", "works_until")
    op.drop_column("process_secrets", "clock_skew_seconds")
    op.drop_column("process_secrets", "kind")
    for name in reversed(_INDEXES):
        op.execute(f"DROP INDEX {name}")
