"""sources that were spent elsewhere, and how far a batch's POSTs are answered

Revision: 0006, after 0005.

Quick on large tables, and beside the code of before: constant defaults write no row, and a CHECK that
isn't validated is held for each row from now on, while no row of before can break it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "ggos",
        sa.Column("spent_elsewhere", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.execute(
        "ALTER TABLE ggos ADD CONSTRAINT ck_ggos_spent_elsewhere "
        "CHECK (NOT spent_elsewhere OR (locked AND NOT stored AND NOT retired)) NOT VALID"
    )
    op.add_column(
        "batches",
        sa.Column("answered_posts", sa.Integer(), server_default="0", nullable=False),
    )
    # Of a POST of before nobody knows when it began: at the latest now.
    op.add_column(
        "batches",
        sa.Column(
            "last_post_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
    )
    op.execute(
        "ALTER TABLE batches ADD CONSTRAINT ck_batches_answered_posts "
        "CHECK (answered_posts <= posts) NOT VALID"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_batches_answered_posts"), "batches", type_="check")
    op.drop_column("batches", "last_post_at")
    op.drop_column("batches", "answered_posts")
    op.drop_constraint(op.f("ck_ggos_spent_elsewhere"), "ggos", type_="check")
    op.drop_column("ggos", "spent_elsewhere")
