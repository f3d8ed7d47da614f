"""DataHubService: metering points, measurements, GGOs, and webhooks about them."""

from sandbox.datahub.app import create_app

__all__ = ["create_app"]
