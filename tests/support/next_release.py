"""The migrations of a release that doesn't exist yet: today's, and one that this code doesn't know."""

import shutil
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

from devstack.processes import ROOT
from origin.migrate import alembic_config

_NEXT = "9999"
_MIGRATION = '''
"""what a next release may do: new columns in all tables, a new table, a new index"""
import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {head!r}
branch_labels = None
depends_on = None
usable_from = {usable_from!r}

def upgrade() -> None:
    names = sa.inspect(op.get_bind()).get_table_names()
    for name in names:
        if name != "alembic_version":
            op.add_column(name, sa.Column("later", sa.Text(), nullable=True))
            op.add_column(
                name, sa.Column("later_count", sa.BigInteger(), server_default="7", nullable=False)
            )
    op.create_index("ix_ggos_later", "ggos", ["later"])
    op.create_table("later_things", sa.Column("id", sa.BigInteger(), primary_key=True))

def downgrade() -> None:
    raise NotImplementedError
'''


def migrate_as_next_release(uri: str, folder: Path, *, usable_from: str | None = None) -> None:
    """Migrate a database as the next release would.

    :param folder: An empty folder for that release's migrations.
    :param usable_from: The oldest revision whose code may use the schema; by default, this code's.
    """
    config = alembic_config(uri)
    head = ScriptDirectory.from_config(config).get_current_head()
    scripts = folder / "migrations"
    shutil.copytree(ROOT / "src/migrations", scripts)
    (scripts / "versions/next.py").write_text(
        _MIGRATION.format(revision=_NEXT, head=head, usable_from=usable_from or head)
    )
    config.set_main_option("script_location", str(scripts))
    command.upgrade(config, "head")
