"""indexes of operations and entries

Revision: 0017, after 0016.

Indexes only, built while others write. With five million GGOs that takes some minutes.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

usable_from = "0014"

_INDEXES = {
    "ix_batches_operation": "batches (operation_id, sequence)",
    "ix_batches_without_operation": "batches (id) WHERE operation_id IS NULL",
    "ix_batches_user_created": "batches (user_id, created_at, id)",
    "ix_batches_user_completed": "batches (user_id, ended_at, id) WHERE state = 'COMPLETED'",
    "ix_ggos_owner_known": (
        "ggos (owner_id, created_at, id) WHERE issue_gsrn IS NOT NULL AND created_at < 'infinity'"
    ),
    "ix_ggos_owner_received": (
        "ggos (owner_id, settled_at, id) WHERE sender_id <> owner_id AND settled_at IS NOT NULL"
    ),
    "ix_ggos_owner_expiry": (
        "ggos (owner_id, expire_time, id) WHERE stored AND expire_time < 'infinity'"
    ),
    "ix_ggos_without_times": (
        "ggos (id) WHERE NOT locked AND ((parent_id IS NOT NULL AND settled_at IS NULL) "
        "OR (NOT stored AND spent_at IS NULL) OR (retired AND retired_at IS NULL))"
    ),
}


def upgrade() -> None:
    # An index that an earlier process left incomplete is dropped first.
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        for name, rows in _INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {rows}")
        op.execute("RESET lock_timeout")


def downgrade() -> None:
    for name in reversed(_INDEXES):
        op.execute(f"DROP INDEX {name}")
