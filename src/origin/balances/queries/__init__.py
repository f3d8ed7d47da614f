"""SQL of balances and entries."""
