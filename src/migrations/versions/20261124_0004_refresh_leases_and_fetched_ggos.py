"""leases for the refresh of tokens, and the progress of fetching issued GGOs from DataHub

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KINDS = "'send_key', 'subscribe_metering_points', 'subscribe_ggos', 'import_metering_points'"


def upgrade() -> None:
    op.add_column("users", sa.Column("refreshing_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "datahub_jobs", sa.Column("fetched_until", sa.DateTime(timezone=True), nullable=True)
    )
    _constrain(f"kind IN ({_KINDS}, 'fetch_ggos')", "kind IN ('send_key', 'fetch_ggos')")


def downgrade() -> None:
    op.execute("DELETE FROM datahub_jobs WHERE kind = 'fetch_ggos'")
    _constrain(f"kind IN ({_KINDS})", "kind = 'send_key'")
    op.drop_column("datahub_jobs", "fetched_until")
    op.drop_column("users", "refreshing_until")


def _constrain(kinds: str, has_a_point: str) -> None:
    for name in ("kind", "subject"):
        op.drop_constraint(op.f(f"ck_datahub_jobs_{name}"), "datahub_jobs", type_="check")
    op.create_check_constraint(op.f("ck_datahub_jobs_kind"), "datahub_jobs", kinds)
    op.create_check_constraint(
        op.f("ck_datahub_jobs_subject"),
        "datahub_jobs",
        f"({has_a_point}) = (metering_point_id IS NOT NULL)",
    )
