"""which code may use the database, and which secrets processes know

Revision: 0014, after 0013.

New tables and indexes only. The indexes find the secrets that rows are sealed with, without reading the
rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

usable_from = "0014"

_SEALED = (
    ("users", "master_key"),
    ("users", "access_token"),
    ("users", "refresh_token"),
    ("webhook_subscriptions", "secret"),
    ("early_subscriptions", "secret"),
)


def upgrade() -> None:
    # The indexes are built while others write. One that an earlier process left incomplete is dropped
    # first.
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        for table, column in _SEALED:
            name = f"ix_{table}_{column}_sealed_by"
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f'CREATE INDEX CONCURRENTLY {name} ON {table} ("left"({column}, 12))')
        op.execute("RESET lock_timeout")
    op.create_table(
        "schema_compatibility",
        sa.Column("is_row", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("usable_from", sa.Text(), nullable=False),
        sa.CheckConstraint("is_row", name=op.f("ck_schema_compatibility_one_row")),
        sa.PrimaryKeyConstraint("is_row", name=op.f("pk_schema_compatibility")),
    )
    op.create_table(
        "process_secrets",
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("prefixes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("process", name=op.f("pk_process_secrets")),
    )
    op.create_table(
        "lost_secrets",
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column(
            "lost_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("prefix", name=op.f("pk_lost_secrets")),
    )


def downgrade() -> None:
    op.drop_table("lost_secrets")
    op.drop_table("process_secrets")
    op.drop_table("schema_compatibility")
    for table, column in reversed(_SEALED):
        op.drop_index(f"ix_{table}_{column}_sealed_by", table_name=table)
