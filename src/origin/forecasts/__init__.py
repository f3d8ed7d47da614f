"""Forecasts of transfers."""
