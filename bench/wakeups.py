"""Wake-ups for benches that run the work themselves."""


class NoWakeups:
    """Wakes nobody."""

    def batches_due(self, delay_s: float = 0) -> None:
        """Do nothing."""

    def datahub_jobs_due(self) -> None:
        """Do nothing."""

    def deliveries_due(self) -> None:
        """Do nothing."""

    def bulk_due(self) -> None:
        """Do nothing."""
