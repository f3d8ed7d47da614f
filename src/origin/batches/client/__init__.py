"""The ledger: its REST API and its SDK."""
