"""Batches: signed, posted, followed to their end on the ledger."""
