"""Brings a restored database in step with DataHub and the ledger."""
