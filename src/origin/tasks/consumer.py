"""How a worker waits for Redis."""

import time

from celery.worker.consumer import Consumer

_PAUSE_S = 1.0


class PatientConsumer(Consumer):
    """Celery's, but for a pause before it turns to a Redis again that has answered by an error.

    Celery waits only where no connection comes about; to one that does, it would come back at once,
    and log that, many times a second.
    """

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Redis failed after a connection had come about."""
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, self.channel_errors):
            time.sleep(_PAUSE_S)
