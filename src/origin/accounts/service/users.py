"""Look up and disable accounts."""

import logging

from origin.accounts.queries.users import disable_user
from origin.db.engine import Database
from origin.webhooks.queries import delivery_queue

log = logging.getLogger(__name__)


def active_user_id(database: Database, subject: str) -> int | None:
    """Return the id of this subject's account; None if it has none, or a disabled one."""
    # Every request asks this: a prepared statement is the cheapest way.
    found = database.prepared(
        "SELECT id FROM users WHERE subject = %(subject)s AND disabled_at IS NULL",
        {"subject": subject},
    )
    return found[0][0] if found else None


def disable_subject(database: Database, subject: str) -> bool:
    """Disable this subject's account, as `disable` does.

    :returns: False if it has none, or it was disabled before.
    """
    user_id = active_user_id(database, subject)
    return user_id is not None and disable(database, user_id)


def disable(database: Database, user_id: int) -> bool:
    """Disable an account for good: delete its tokens and DataHub jobs, and end its subscriptions.

    GGOs and history stay.

    :returns: False if it was disabled before.
    """
    with database.transaction() as session:
        if not disable_user(session, user_id):
            return False
        delivery_queue.end_all(session, user_id, "the account is disabled")
    log.info("User %s is disabled", user_id)
    return True
