"""Evaluates the dashboard's queries by a real Prometheus, and draws them: `make dashboard-check`."""
