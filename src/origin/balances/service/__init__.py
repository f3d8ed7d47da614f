"""Use cases of balances and entries."""
