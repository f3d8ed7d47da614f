"""What balances and entries are made of."""
