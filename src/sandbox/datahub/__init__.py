"""DataHubService: metering points, measurements and GGOs, and the webhooks that tell of them."""

from sandbox.datahub.app import create_app

__all__ = ["create_app"]
