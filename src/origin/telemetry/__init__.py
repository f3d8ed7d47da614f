"""Logs as JSON lines, metrics for Prometheus, and traces; Azure Application Insights if configured."""
