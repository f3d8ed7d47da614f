"""The API of balances, entries and statements of account."""
