"""sources that were spent elsewhere, and counts of a batch's answered POSTs

Revision: 0006, after 0005.

It is quick on large tables, and the previous version may run meanwhile: constant defaults rewrite no
rows, and the CHECKs are validated afterwards, while others read and write. Each statement can be
repeated, so a later process can complete an interrupted migration.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_CHECKS = {
    ("ggos", "ck_ggos_spent_elsewhere"): (
        "NOT spent_elsewhere OR (locked AND NOT stored AND NOT retired)"
    ),
    ("batches", "ck_batches_answered_posts"): "answered_posts <= posts",
}


def upgrade() -> None:
    op.execute(
        "ALTER TABLE ggos ADD COLUMN IF NOT EXISTS spent_elsewhere boolean DEFAULT false NOT NULL"
    )
    # When earlier POSTs began is unknown; it was now at the latest.
    op.execute(
        "ALTER TABLE batches "
        "ADD COLUMN IF NOT EXISTS answered_posts integer DEFAULT 0 NOT NULL, "
        "ADD COLUMN IF NOT EXISTS last_post_at timestamptz DEFAULT now() NOT NULL"
    )
    for (table, name), rule in _CHECKS.items():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID")
    # Commit the additions first. The validation then needs no lock that blocks reads or writes.
    with op.get_context().autocommit_block():
        for table, name in _CHECKS:
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_batches_answered_posts"), "batches", type_="check")
    op.drop_column("batches", "last_post_at")
    op.drop_column("batches", "answered_posts")
    op.drop_constraint(op.f("ck_ggos_spent_elsewhere"), "ggos", type_="check")
    op.drop_column("ggos", "spent_elsewhere")
