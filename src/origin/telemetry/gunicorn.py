"""Writes gunicorn's logs as JSON lines. Its master loads this before gevent patches anything."""

import os
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from origin.telemetry.formatters import JsonFormatter


class JsonLogger(Logger):  # type: ignore[misc] # no types
    """Gunicorn's logger, with our formatter."""

    def setup(self, cfg: Any) -> None:
        """Set our formatter on gunicorn's handlers."""
        super().setup(cfg)
        # The master has not loaded the settings. The entry point has checked them already.
        formatter = JsonFormatter(os.environ.get("SERVICE_NAME", ""))
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(formatter)
