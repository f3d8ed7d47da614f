"""batches that were adopted from the original service

Revision: 0012, after 0011.

As 0006, it is quick, and each statement can be repeated. The previous version may run on it: both
columns are nullable.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ADOPTED = "original_batch_id IS NULL OR adopted_at IS NOT NULL"


def upgrade() -> None:
    op.execute(
        "ALTER TABLE batches ADD COLUMN IF NOT EXISTS original_batch_id text, "
        "ADD COLUMN IF NOT EXISTS adopted_at timestamptz"
    )
    op.execute("ALTER TABLE batches DROP CONSTRAINT IF EXISTS ck_batches_adopted")
    op.execute(
        f"ALTER TABLE batches ADD CONSTRAINT ck_batches_adopted CHECK ({_ADOPTED}) NOT VALID"
    )
    # Commit the additions first. The validation then needs no lock that blocks reads or writes.
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE batches VALIDATE CONSTRAINT ck_batches_adopted")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_batches_adopted"), "batches", type_="check")
    op.drop_column("batches", "adopted_at")
    op.drop_column("batches", "original_batch_id")
