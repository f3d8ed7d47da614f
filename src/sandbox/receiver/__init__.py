"""A webhook receiver: keeps what it gets, checks the signatures, answers as it is told."""

from sandbox.receiver.app import create_app

__all__ = ["create_app"]
