"""How a worker waits for Redis."""

import time

from celery.worker.consumer import Consumer

_PAUSE_S = 1.0


class PatientConsumer(Consumer):
    """Celery's consumer, which also pauses after a Redis that answers with an error.

    Celery pauses only if it cannot connect. If Redis takes the connection and then answers with an
    error, Celery would reconnect at once, and log that many times a second.
    """

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Handle a Redis that failed after the connection was made."""
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, self.channel_errors):
            time.sleep(_PAUSE_S)
