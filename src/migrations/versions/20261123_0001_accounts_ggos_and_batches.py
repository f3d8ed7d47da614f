"""accounts, GGOs and batches

Revision: 0001, after .
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept_events",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("gsrn", sa.Text(), nullable=False),
        sa.Column(
            "payload", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint("kind IN ('metering_point', 'ggo')", name=op.f("ck_kept_events_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kept_events")),
        sa.UniqueConstraint("digest", name=op.f("uq_kept_events_digest")),
    )
    op.create_index("ix_kept_events_gsrn", "kept_events", ["gsrn"], unique=False)
    op.create_index(
        op.f("ix_kept_events_received_at"), "kept_events", ["received_at"], unique=False
    )
    op.create_index("ix_kept_events_subject", "kept_events", ["subject", "kind"], unique=False)
    op.create_table(
        "login_states",
        sa.Column("state_hash", sa.Text(), nullable=False),
        sa.Column("browser_hash", sa.Text(), nullable=False),
        sa.Column("return_url", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("code_verifier", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state_hash", name=op.f("pk_login_states")),
    )
    op.create_index(
        op.f("ix_login_states_expires_at"), "login_states", ["expires_at"], unique=False
    )
    op.create_table(
        "technologies",
        sa.Column("technology_code", sa.Text(), nullable=False),
        sa.Column("fuel_code", sa.Text(), nullable=False),
        sa.Column("technology", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("technology_code", "fuel_code", name=op.f("pk_technologies")),
    )
    op.create_table(
        "users",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("master_key", sa.Text(), nullable=False),
        sa.Column("access_token", sa.Text(), nullable=True),
        sa.Column("refresh_token", sa.Text(), nullable=True),
        sa.Column("token_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tokens_refused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_metering_point_index", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("next_trade_index", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("subject", name=op.f("uq_users_subject")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column(
            "response", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_idempotency_keys_user_id")
        ),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "metering_points",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("gsrn", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("sector", sa.Text(), nullable=False),
        sa.Column("key_index", sa.BigInteger(), nullable=False),
        sa.Column("key_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint(
            "type IN ('production', 'consumption')", name=op.f("ck_metering_points_type")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_metering_points_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metering_points")),
        sa.UniqueConstraint("gsrn", name=op.f("uq_metering_points_gsrn")),
        sa.UniqueConstraint(
            "user_id", "key_index", name=op.f("uq_metering_points_user_id_key_index")
        ),
    )
    op.create_table(
        "datahub_jobs",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("metering_point_id", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "next_attempt_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=True,
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "(kind = 'send_key') = (metering_point_id IS NOT NULL)",
            name=op.f("ck_datahub_jobs_subject"),
        ),
        sa.CheckConstraint(
            "kind IN ('send_key', 'subscribe_metering_points', 'subscribe_ggos', 'import_metering_points')",
            name=op.f("ck_datahub_jobs_kind"),
        ),
        sa.ForeignKeyConstraint(
            ["metering_point_id"],
            ["metering_points.id"],
            name=op.f("fk_datahub_jobs_metering_point_id"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_datahub_jobs_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datahub_jobs")),
        sa.UniqueConstraint(
            "user_id",
            "kind",
            "metering_point_id",
            name=op.f("uq_datahub_jobs_user_id_kind_metering_point_id"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index("ix_datahub_jobs_due", "datahub_jobs", ["next_attempt_at"], unique=False)
    op.create_table(
        "ggos",
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("begin", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sector", sa.Text(), nullable=False),
        sa.Column("technology_code", sa.Text(), nullable=False),
        sa.Column("fuel_code", sa.Text(), nullable=False),
        sa.Column(
            "emissions", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("issue_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issue_gsrn", sa.Text(), nullable=True),
        sa.Column("key_mismatch", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("split_position", sa.Integer(), nullable=True),
        sa.Column("sender_id", sa.BigInteger(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("key_index", sa.BigInteger(), nullable=True),
        sa.Column("stored", sa.Boolean(), nullable=False),
        sa.Column("retired", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("locked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("retire_gsrn", sa.Text(), nullable=True),
        sa.Column("retire_address", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint('"end" > begin', name=op.f("ck_ggos_period")),
        sa.CheckConstraint(
            "(issue_gsrn IS NOT NULL) = (key_index IS NULL) AND (parent_id IS NOT NULL) = (key_index IS NOT NULL) AND (parent_id IS NOT NULL) = (sender_id IS NOT NULL) AND (parent_id IS NOT NULL) = (split_position IS NOT NULL)",
            name=op.f("ck_ggos_issued_or_split"),
        ),
        sa.CheckConstraint("NOT (stored AND retired)", name=op.f("ck_ggos_stored_or_retired")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_ggos_amount")),
        sa.CheckConstraint(
            "retired = (retire_gsrn IS NOT NULL) AND retired = (retire_address IS NOT NULL)",
            name=op.f("ck_ggos_retired_to"),
        ),
        sa.ForeignKeyConstraint(
            ["issue_gsrn"], ["metering_points.gsrn"], name=op.f("fk_ggos_issue_gsrn")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_ggos_owner_id")),
        sa.ForeignKeyConstraint(["parent_id"], ["ggos.id"], name=op.f("fk_ggos_parent_id")),
        sa.ForeignKeyConstraint(
            ["retire_gsrn"], ["metering_points.gsrn"], name=op.f("fk_ggos_retire_gsrn")
        ),
        sa.ForeignKeyConstraint(["sender_id"], ["users.id"], name=op.f("fk_ggos_sender_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ggos")),
        sa.UniqueConstraint("address", name=op.f("uq_ggos_address")),
    )
    op.create_index(
        "ix_ggos_owner_amount",
        "ggos",
        ["owner_id", "amount", "begin", "id"],
        unique=False,
        postgresql_include=["locked"],
    )
    op.create_index(
        "ix_ggos_owner_begin",
        "ggos",
        ["owner_id", "begin", "id"],
        unique=False,
        postgresql_include=[
            "amount",
            "locked",
            "sector",
            "technology_code",
            "fuel_code",
        ],
    )
    op.create_index(
        "ix_ggos_owner_issued",
        "ggos",
        ["owner_id", "begin", "id"],
        unique=False,
        postgresql_where=sa.text("issue_gsrn IS NOT NULL"),
        postgresql_include=[
            "amount",
            "locked",
            "issue_gsrn",
            "sector",
            "technology_code",
            "fuel_code",
        ],
    )
    op.create_index(
        "ix_ggos_owner_retired",
        "ggos",
        ["owner_id", "begin", "id"],
        unique=False,
        postgresql_where=sa.text("retired"),
        postgresql_include=[
            "amount",
            "locked",
            "retire_gsrn",
            "sector",
            "technology_code",
            "fuel_code",
        ],
    )
    op.create_index(
        "ix_ggos_owner_stored",
        "ggos",
        ["owner_id", "begin", "id"],
        unique=False,
        postgresql_where=sa.text("stored"),
        postgresql_include=[
            "amount",
            "locked",
            "expire_time",
            "sector",
            "technology_code",
            "fuel_code",
        ],
    )
    op.create_index(
        "ix_ggos_recipient_begin",
        "ggos",
        ["owner_id", "begin"],
        unique=False,
        postgresql_where=sa.text("sender_id <> owner_id"),
        postgresql_include=["amount", "sector", "technology_code", "fuel_code"],
    )
    op.create_index(
        "ix_ggos_retire_address",
        "ggos",
        ["retire_address"],
        unique=False,
        postgresql_where=sa.text("retired"),
        postgresql_include=["amount"],
    )
    op.create_index(
        "ix_ggos_stored_begin",
        "ggos",
        ["begin", "owner_id"],
        unique=False,
        postgresql_where=sa.text("stored"),
        postgresql_include=["amount", "expire_time"],
    )
    op.create_index(
        "ix_ggos_sender_begin",
        "ggos",
        ["sender_id", "begin"],
        unique=False,
        postgresql_where=sa.text("sender_id <> owner_id"),
        postgresql_include=["amount", "sector", "technology_code", "fuel_code"],
    )
    op.create_index(
        "uq_ggos_owner_id_key_index",
        "ggos",
        ["owner_id", "key_index"],
        unique=True,
        postgresql_where=sa.text("key_index IS NOT NULL"),
    )
    op.create_index(
        "uq_ggos_parent_id_split_position",
        "ggos",
        ["parent_id", "split_position"],
        unique=True,
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_table(
        "batches",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("ggo_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("ledger_batch_id", sa.Text(), nullable=True),
        sa.Column("signed_batch", sa.LargeBinary(), nullable=True),
        sa.Column("posts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("refused_posts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "next_attempt_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=True,
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "(state IN ('COMPLETED', 'DECLINED')) = (ended_at IS NOT NULL) AND (ended_at IS NULL) = (next_attempt_at IS NOT NULL)",
            name=op.f("ck_batches_ended"),
        ),
        sa.CheckConstraint(
            "state IN ('PENDING', 'SUBMITTED', 'COMPLETED', 'DECLINED')",
            name=op.f("ck_batches_state"),
        ),
        sa.CheckConstraint(
            "(signed_batch IS NULL) = (ledger_batch_id IS NULL) AND (signed_batch IS NOT NULL OR posts = 0)",
            name=op.f("ck_batches_signed"),
        ),
        sa.CheckConstraint("refused_posts <= posts", name=op.f("ck_batches_refused_posts")),
        sa.ForeignKeyConstraint(["ggo_id"], ["ggos.id"], name=op.f("fk_batches_ggo_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_batches_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("ledger_batch_id", name=op.f("uq_batches_ledger_batch_id")),
    )
    op.create_index(
        "ix_batches_due",
        "batches",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_index("ix_batches_ggo_id", "batches", ["ggo_id"], unique=False)
    op.create_index(
        "uq_batches_live_ggo_id",
        "batches",
        ["ggo_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "transactions",
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("ggo_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint("type IN ('split', 'retire')", name=op.f("ck_transactions_type")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_transactions_batch_id")
        ),
        sa.ForeignKeyConstraint(["ggo_id"], ["ggos.id"], name=op.f("fk_transactions_ggo_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transactions")),
        sa.UniqueConstraint("batch_id", "position", name=op.f("uq_transactions_batch_id_position")),
        sa.UniqueConstraint("ggo_id", name=op.f("uq_transactions_ggo_id")),
    )


def downgrade() -> None:
    op.drop_table("transactions")
    op.drop_index(
        "uq_batches_live_ggo_id", table_name="batches", postgresql_where=sa.text("ended_at IS NULL")
    )
    op.drop_index("ix_batches_ggo_id", table_name="batches")
    op.drop_index(
        "ix_batches_due",
        table_name="batches",
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.drop_table("batches")
    op.drop_table("ggos")
    op.drop_index("ix_datahub_jobs_due", table_name="datahub_jobs")
    op.drop_table("datahub_jobs")
    op.drop_table("metering_points")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_table("users")
    op.drop_table("technologies")
    op.drop_index(op.f("ix_login_states_expires_at"), table_name="login_states")
    op.drop_table("login_states")
    op.drop_index("ix_kept_events_subject", table_name="kept_events")
    op.drop_index(op.f("ix_kept_events_received_at"), table_name="kept_events")
    op.drop_index("ix_kept_events_gsrn", table_name="kept_events")
    op.drop_table("kept_events")
