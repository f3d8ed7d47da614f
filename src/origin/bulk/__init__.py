"""Bulk: one order that transfers or retires many GGOs (contract: v2, section 4)."""
