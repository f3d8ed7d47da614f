"""What services call to wake the workers."""

from typing import Protocol


class Wakeups(Protocol):
    """Wakes a worker for one kind of work. Losing a wake-up costs seconds: Beat sweeps regularly."""

    def batches_due(self, delay_s: float = 0) -> None:
        """Wake a worker for due batches, now or in `delay_s` seconds."""

    def datahub_jobs_due(self) -> None:
        """Wake a worker for due jobs at DataHub."""

    def deliveries_due(self) -> None:
        """Wake a worker for due webhook deliveries."""

    def bulk_due(self) -> None:
        """Wake a worker for queued bulk orders."""
