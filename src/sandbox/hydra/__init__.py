"""Hydra: an OAuth 2.0 and OpenID Connect server with a login page that scripts can use too."""

from sandbox.hydra.app import create_app

__all__ = ["create_app"]
