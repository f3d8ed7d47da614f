"""operations, and when each GGO was settled, spent and retired

Revision: 0016, after 0015.

New tables and nullable columns only. Workers fill the new columns of older rows in slices, and readers
don't depend on it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

usable_from = "0014"

_TIME = sa.DateTime(timezone=True)

# The time is taken after the transaction has its id. So whoever asks at T, and waits for the
# transactions that are open then, sees each entry with a time up to T.
_ENTRY_TIME = """
CREATE FUNCTION entry_time() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN pg_current_xact_id() IS NOT NULL THEN clock_timestamp() END
$$
"""
_ROLLBACKS_OF_DECLINED = """
INSERT INTO rollbacks (batch_id, user_id, ggo_id, accepted_at, declined_at, undone, blocked)
SELECT batches.id, batches.user_id, ggo_id, batches.created_at, ended_at, undone,
    ggos.spent_elsewhere AND batches.id = max(batches.id) OVER (PARTITION BY ggo_id)
FROM batches JOIN ggos ON ggos.id = ggo_id
WHERE state = 'DECLINED' AND undone IS NOT NULL
"""


def upgrade() -> None:
    op.execute(_ENTRY_TIME)
    op.add_column("users", sa.Column("history_from", _TIME))
    for name in ("settled_at", "spent_at", "retired_at"):
        op.add_column("ggos", sa.Column(name, _TIME))
    op.create_table(
        "operations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("accepted_at", _TIME),
        sa.Column("client", sa.Text()),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("request", postgresql.JSON()),
        sa.Column("request_hash", sa.Text()),
        sa.Column("requested", sa.BigInteger()),
        sa.Column("refusal", postgresql.JSONB()),
        sa.Column("ended_at", _TIME),
        sa.Column("next_attempt_at", _TIME),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_operations_user_id")),
        sa.CheckConstraint(
            "kind IN ('compose', 'transfer', 'retirement')", name=op.f("ck_operations_kind")
        ),
        sa.CheckConstraint("origin IN ('legacy', 'api')", name=op.f("ck_operations_origin")),
        sa.CheckConstraint(
            "accepted_at IS NULL OR ended_at IS NULL", name=op.f("ck_operations_accepted_or_ended")
        ),
        sa.CheckConstraint(
            "(accepted_at IS NULL AND ended_at IS NULL) = (next_attempt_at IS NOT NULL)",
            name=op.f("ck_operations_queued"),
        ),
        sa.CheckConstraint(
            "refusal IS NULL OR ended_at IS NOT NULL", name=op.f("ck_operations_refusal")
        ),
    )
    op.create_index("ix_operations_user_created", "operations", ["user_id", "created_at", "id"])
    op.create_index(
        "ix_operations_key",
        "operations",
        ["user_id", "idempotency_key"],
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index(
        "uq_operations_api_key",
        "operations",
        ["user_id", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("origin = 'api'"),
    )
    op.create_index(
        "ix_operations_due",
        "operations",
        ["next_attempt_at"],
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.add_column("idempotency_keys", sa.Column("operation_id", sa.Uuid()))
    # In one statement with the column, the foreign key needs no check of the rows.
    op.execute(
        "ALTER TABLE batches ADD COLUMN operation_id uuid "
        "CONSTRAINT fk_batches_operation_id REFERENCES operations (id)"
    )
    op.add_column("batches", sa.Column("sequence", sa.Integer()))
    op.add_column("batches", sa.Column("moved", sa.BigInteger()))
    op.create_table(
        "rollbacks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("ggo_id", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at", _TIME, nullable=False),
        sa.Column("declined_at", _TIME, nullable=False),
        sa.Column("undone", postgresql.JSONB(), nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("unblocked_at", _TIME),
        sa.Column("redone_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollbacks")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_rollbacks_batch_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_rollbacks_user_id")),
        sa.ForeignKeyConstraint(["ggo_id"], ["ggos.id"], name=op.f("fk_rollbacks_ggo_id")),
    )
    op.create_index("ix_rollbacks_user_accepted", "rollbacks", ["user_id", "accepted_at"])
    op.create_index("ix_rollbacks_batch_id", "rollbacks", ["batch_id"])
    op.create_index("ix_rollbacks_ggo_id", "rollbacks", ["ggo_id"])
    op.create_index(
        "ix_rollbacks_undone",
        "rollbacks",
        ["undone"],
        postgresql_using="gin",
        postgresql_ops={"undone": "jsonb_path_ops"},
    )
    op.execute(_ROLLBACKS_OF_DECLINED)


def downgrade() -> None:
    op.drop_table("rollbacks")
    for name in ("moved", "sequence", "operation_id"):
        op.drop_column("batches", name)
    op.drop_column("idempotency_keys", "operation_id")
    op.drop_table("operations")
    for name in ("retired_at", "spent_at", "settled_at"):
        op.drop_column("ggos", name)
    op.drop_column("users", "history_from")
    op.execute("DROP FUNCTION entry_time()")
