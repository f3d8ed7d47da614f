"""Compares the database with the ledger, and repairs what is safe to repair."""
