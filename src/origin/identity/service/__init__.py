"""Use cases of tokens."""
