"""Balances of accounts, their entries, and statements of account (contract: v2, Balances)."""
