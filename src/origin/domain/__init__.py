"""The rules, as plain functions: no Flask, no Celery, no database."""
