"""The service as it was before version 2, for the cost of what composes do since.

The code of that commit runs on a database of its own schema, with the same accounts and GGOs.
"""

import os
import subprocess
import sys
from pathlib import Path

from bench.dataset import FOLDER, Dataset, connect, secret
from devstack.console import Console
from devstack.databases import create_database, drop_database, with_database
from devstack.environment import inherited
from devstack.postgres import EmbeddedPostgres
from devstack.rollback import take_out

COMMIT = "0dbad476ba13eba8716fabaeff2a81dc8ddbc073"
"""The last commit without operations, and without the times of entries."""
_VERSION = "1"
_BUILD = """
import sys
from bench import dataset
from devstack.console import Console
from origin.migrate import upgrade
upgrade(sys.argv[1])
dataset._fill(sys.argv[1], int(sys.argv[2]), Console())
"""


def code() -> Path:
    """Return the folder with that commit's code, with today's packages.

    :raises ProcessFailedError: The repository lacks the commit.
    """
    folder = FOLDER / f"before-{COMMIT[:7]}"
    if not folder.is_dir():
        unfinished = FOLDER / f"before-{os.getpid()}"
        take_out(COMMIT, unfinished)
        unfinished.rename(folder)
    return folder


def prepare(postgres: EmbeddedPostgres, size: int, console: Console) -> Dataset:
    """Return the database of this size with the earlier schema; build it if it is missing."""
    name = f"before_{size}"
    made = f"{_VERSION} {COMMIT}"
    uri = with_database(postgres.uri, name)
    with connect(postgres.uri) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
            (name,),
        )
        if cursor.fetchone() == (made,):
            return Dataset(uri, size)
    drop_database(postgres.uri, name)
    create_database(postgres.uri, name)
    folder = code()
    secret_file = folder / ".run" / "bench" / "secret"
    secret_file.parent.mkdir(parents=True, exist_ok=True)
    secret_file.write_text(secret())
    secret_file.chmod(0o600)
    with console.step(f"Built a database of {size:,} GGOs as of {COMMIT[:7]}"):
        subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", _BUILD, uri, str(size)],
            env={**inherited(), "PYTHONPATH": f"{folder / 'src'}:{folder}"},
            cwd=folder,
            check=True,
        )
    with connect(postgres.uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"COMMENT ON DATABASE {name} IS '{made}'")
    return Dataset(uri, size)


def reset_writes(dataset: Dataset) -> None:
    """Delete all composes since, to return the data to its built state."""
    with connect(dataset.uri) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM webhook_deliveries; DELETE FROM webhook_subscriptions")
        cursor.execute("DELETE FROM batch_events; DELETE FROM transactions; DELETE FROM batches")
        cursor.execute("DELETE FROM ggos WHERE id > %s", (dataset.size,))
        cursor.execute(
            "UPDATE ggos AS source SET stored = true, locked = false WHERE NOT (stored OR retired) "
            "AND NOT EXISTS (SELECT FROM ggos AS part WHERE part.parent_id = source.id)"
        )
        for table in ("ggos", "batches", "transactions", "users"):
            cursor.execute(f"VACUUM ANALYZE {table}")
