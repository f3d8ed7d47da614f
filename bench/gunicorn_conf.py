"""Gunicorn's configuration for the limits: the service's own, without what needs its application."""

from origin.web.gunicorn.conf import *  # noqa: F403 - gunicorn reads a module's names


def post_worker_init(_worker: object) -> None:
    """Replace the service's: the limits have no runtime whose clock is to be watched."""
