"""EnergyTypeService: the residual mix of any sector and hour, made up but always the same."""

from sandbox.energytype.app import create_app

__all__ = ["create_app"]
