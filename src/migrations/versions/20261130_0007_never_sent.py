"""batches and GGOs that were never sent to the ledger (LEDGER_ENABLED=0)

Revision: 0007, after 0006.

As 0006, it is quick, and each statement can be repeated.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NEVER_SENT = "NOT never_sent OR (state = 'COMPLETED' AND signed_batch IS NULL)"


def upgrade() -> None:
    for table in ("ggos", "batches"):
        # PostgreSQL stores a constant default in the catalogue and rewrites no rows.
        op.execute(
            f"ALTER TABLE {table} "
            "ADD COLUMN IF NOT EXISTS never_sent boolean DEFAULT false NOT NULL"
        )
    op.execute("ALTER TABLE batches DROP CONSTRAINT IF EXISTS ck_batches_never_sent")
    op.execute(
        f"ALTER TABLE batches ADD CONSTRAINT ck_batches_never_sent CHECK ({_NEVER_SENT}) NOT VALID"
    )
    # Commit the additions first. The validation then needs no lock that blocks reads or writes.
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE batches VALIDATE CONSTRAINT ck_batches_never_sent")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_batches_never_sent"), "batches")
    op.drop_column("ggos", "never_sent")
    op.drop_column("batches", "never_sent")
