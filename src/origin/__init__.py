"""AccountService: accounts of granular guarantees of origin on top of a ledger."""
