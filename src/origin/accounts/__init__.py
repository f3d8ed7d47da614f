"""Accounts: login, users and their end, suppliers."""
