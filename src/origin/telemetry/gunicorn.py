"""Gunicorn's own words as JSON lines. Loaded by its master, before anything is patched."""

import os
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from origin.telemetry.formatters import JsonFormatter


class JsonLogger(Logger):  # type: ignore[misc] # no types
    """Gunicorn's logger, with our formatter."""

    def setup(self, cfg: Any) -> None:
        """Set the formatter; where the lines go stays gunicorn's choice."""
        super().setup(cfg)
        # The settings aren't loaded in the master; a wrong environment has been refused before.
        formatter = JsonFormatter(os.environ.get("SERVICE_NAME", ""))
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(formatter)
