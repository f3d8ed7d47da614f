"""Use cases: each changes the database in one transaction, or says why it takes more."""
