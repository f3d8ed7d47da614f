"""Logs as JSON lines, metrics for Prometheus, and traces by OTLP; Azure Application Insights gets logs and traces, too."""
