"""SQL of accounts that authentication asks for."""

from origin.db.engine import Database


def active_user_id(database: Database, subject: str) -> int | None:
    """Return the id of this subject's account, None if it has none or a disabled one."""
    # Every request asks this: a prepared statement is the cheapest way.
    rows = database.prepared(
        "SELECT id FROM users WHERE subject = %(subject)s AND disabled_at IS NULL",
        {"subject": subject},
    )
    return rows[0][0] if rows else None
