"""Disabling an account."""

import logging

from sqlalchemy import delete, func, select, update

from origin.db.engine import Database
from origin.db.models import DataHubJob, User
from origin.webhooks.queries import delivery_queue

log = logging.getLogger(__name__)


def disable(database: Database, user_id: int) -> bool:
    """Disable an account for good: no tokens, nothing more at DataHub, no webhooks.

    GGOs and history stay.

    :returns: False where it was disabled before.
    """
    with database.transaction() as session:
        # Waits for composes that count on the account, and has later ones see that it is disabled.
        session.execute(select(User.id).where(User.id == user_id).with_for_update())
        disabled = session.scalars(
            update(User)
            .where(User.id == user_id, User.disabled_at.is_(None))
            .values(
                disabled_at=func.now(),
                access_token=None,
                refresh_token=None,
                token_expires_at=None,
            )
            .returning(User.id)
        ).one_or_none()
        if disabled is None:
            return False
        session.execute(delete(DataHubJob).where(DataHubJob.user_id == user_id))
        delivery_queue.end_all(session, user_id, "the account is disabled")
    log.info("User %s is disabled", user_id)
    return True
