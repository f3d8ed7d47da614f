"""Tests of the alert rules by promtool and Prometheus: `make alerts-check`."""
