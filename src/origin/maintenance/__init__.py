"""Periodic work, pruning, key rotation."""
