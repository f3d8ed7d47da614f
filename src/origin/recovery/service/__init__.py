"""Use cases of recovery."""
