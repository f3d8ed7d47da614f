"""webhooks and forecasts

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False)


def _time(name: str, *, nullable: bool = True, now: bool = False) -> sa.Column[object]:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "webhook_subscriptions",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=True),
        _time("created_at", nullable=False, now=True),
        _time("ended_at"),
        sa.Column("end_reason", sa.Text(), nullable=True),
        _time("next_attempt_at"),
        sa.Column("claim", sa.Uuid(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        _id(),
        sa.CheckConstraint(
            "event IN ('ON_GGO_RECEIVED', 'ON_FORECAST_RECEIVED')",
            name=op.f("ck_webhook_subscriptions_event"),
        ),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (secret IS NOT NULL) "
            "AND (ended_at IS NULL) = (end_reason IS NULL) "
            "AND (ended_at IS NULL OR (next_attempt_at IS NULL AND claim IS NULL))",
            name=op.f("ck_webhook_subscriptions_ended"),
        ),
        sa.CheckConstraint(
            "claim IS NULL OR next_attempt_at IS NOT NULL",
            name=op.f("ck_webhook_subscriptions_claim"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_webhook_subscriptions_user_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_subscriptions")),
    )
    op.create_index(
        "uq_webhook_subscriptions_live",
        "webhook_subscriptions",
        ["user_id", "event", "url"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "ix_webhook_subscriptions_due",
        "webhook_subscriptions",
        ["next_attempt_at"],
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("subscription_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "webhook_id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False
        ),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), server_default="PENDING", nullable=False),
        _time("next_attempt_at", now=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        _time("last_attempt_at"),
        sa.Column("last_status", sa.SmallInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        _time("created_at", nullable=False, now=True),
        _time("ended_at"),
        _id(),
        sa.CheckConstraint(
            "state IN ('PENDING', 'DELIVERED', 'GIVEN_UP', 'CANCELLED')",
            name=op.f("ck_webhook_deliveries_state"),
        ),
        sa.CheckConstraint(
            "(state = 'PENDING') = (next_attempt_at IS NOT NULL) "
            "AND (state = 'PENDING') = (ended_at IS NULL)",
            name=op.f("ck_webhook_deliveries_ended"),
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["webhook_subscriptions.id"],
            name=op.f("fk_webhook_deliveries_subscription_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        "ix_webhook_deliveries_lane",
        "webhook_deliveries",
        ["subscription_id", "next_attempt_at", "id"],
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_index(
        "ix_webhook_deliveries_subscription_id", "webhook_deliveries", ["subscription_id", "id"]
    )
    op.create_index(
        "ix_webhook_deliveries_ended",
        "webhook_deliveries",
        ["ended_at"],
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )
    op.create_table(
        "forecasts",
        sa.Column(
            "public_id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False
        ),
        sa.Column("sender_id", sa.BigInteger(), nullable=False),
        sa.Column("recipient_id", sa.BigInteger(), nullable=False),
        sa.Column("sector", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        _time("begin", nullable=False),
        _time("end", nullable=False),
        sa.Column("resolution", sa.Text(), nullable=False),
        sa.Column("amounts", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        _time("created_at", nullable=False, now=True),
        _id(),
        sa.CheckConstraint("cardinality(amounts) > 0", name=op.f("ck_forecasts_amounts")),
        sa.CheckConstraint('"end" > begin', name=op.f("ck_forecasts_period")),
        sa.ForeignKeyConstraint(["sender_id"], ["users.id"], name=op.f("fk_forecasts_sender_id")),
        sa.ForeignKeyConstraint(
            ["recipient_id"], ["users.id"], name=op.f("fk_forecasts_recipient_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forecasts")),
        sa.UniqueConstraint("public_id", name=op.f("uq_forecasts_public_id")),
    )
    op.create_index("ix_forecasts_sender", "forecasts", ["sender_id", "reference", "id"])
    op.create_index("ix_forecasts_recipient", "forecasts", ["recipient_id", "reference", "id"])


def downgrade() -> None:
    op.drop_table("forecasts")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhook_subscriptions")
