"""subscriptions of subjects without an account, and an index of forecasts by sender and recipient

Revision: 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The index finds the oldest forecasts beyond the limit. It is built while others write. One that an
    # earlier process left incomplete is dropped first.
    with op.get_context().autocommit_block():
        # The build waits for all older transactions, and blocks no one.
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_forecasts_pair")
        op.execute(
            "CREATE INDEX CONCURRENTLY ix_forecasts_pair ON forecasts (sender_id, recipient_id, id)"
        )
        op.execute("RESET lock_timeout")
    op.create_table(
        "early_subscriptions",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column(
            "subscribed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint(
            "event IN ('ON_GGO_RECEIVED', 'ON_FORECAST_RECEIVED')",
            name=op.f("ck_early_subscriptions_event"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_early_subscriptions")),
    )
    op.create_index("ix_early_subscriptions_subject", "early_subscriptions", ["subject"])
    op.create_index(
        "ix_early_subscriptions_subscribed_at", "early_subscriptions", ["subscribed_at"]
    )


def downgrade() -> None:
    op.drop_index("ix_forecasts_pair", table_name="forecasts")
    op.drop_table("early_subscriptions")
