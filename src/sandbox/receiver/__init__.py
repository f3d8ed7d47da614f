"""A webhook receiver: records deliveries, checks their signatures, answers as configured."""

from sandbox.receiver.app import create_app

__all__ = ["create_app"]
