"""batches and GGOs that were never sent to the ledger (LEDGER_ENABLED=0)

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NEVER_SENT = "NOT never_sent OR (state = 'COMPLETED' AND signed_batch IS NULL)"


def _add_flag(table: str) -> None:
    # A constant default is kept in the catalogue: no row is rewritten.
    flag = sa.Column("never_sent", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    op.add_column(table, flag)


def upgrade() -> None:
    _add_flag("batches")
    _add_flag("ggos")
    # Validated apart, so that the table can be written to while its rows are read.
    op.create_check_constraint(
        op.f("ck_batches_never_sent"), "batches", _NEVER_SENT, postgresql_not_valid=True
    )
    op.execute("ALTER TABLE batches VALIDATE CONSTRAINT ck_batches_never_sent")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_batches_never_sent"), "batches")
    op.drop_column("ggos", "never_sent")
    op.drop_column("batches", "never_sent")
