"""Use cases of bulk orders."""
