"""Logs: one JSON object a line on stdout, and Azure Application Insights where configured."""
