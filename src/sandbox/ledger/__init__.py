"""The ledger: a Sawtooth REST API over a validator that checks every signature and every rule."""

from sandbox.ledger.app import create_app

__all__ = ["create_app"]
