"""Celery: thin tasks that call use cases, and the schedule that sweeps what is due."""
