"""EnergyTypeService: a made-up, but reproducible, residual mix of every sector and hour."""

from sandbox.energytype.app import create_app

__all__ = ["create_app"]
