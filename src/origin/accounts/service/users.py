"""Disable accounts."""

import logging

from origin.accounts.queries.users import disable_user
from origin.db.engine import Database
from origin.webhooks.queries import subscriptions

log = logging.getLogger(__name__)


def disable(database: Database, user_id: int) -> bool:
    """Disable an account for good: delete its tokens and DataHub jobs, and end its subscriptions.

    GGOs and history stay.

    :returns: False if it was disabled before.
    """
    with database.transaction() as session:
        if not disable_user(session, user_id):
            return False
        subscriptions.end_all(session, user_id, "the account is disabled")
    log.info("User %s is disabled", user_id)
    return True
