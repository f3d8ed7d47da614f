"""Delete outdated rows."""

from origin.db.engine import Database
from origin.maintenance.queries.pruning import delete_rows, outdated_rows


def prune(database: Database) -> dict[str, int]:
    """Delete outdated rows, one table per transaction; return how many by table name."""
    deleted = {}
    for table, is_outdated in outdated_rows().items():
        with database.transaction() as session:
            deleted[table.__tablename__] = delete_rows(session, table, is_outdated)
    return deleted
