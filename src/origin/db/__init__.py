"""The database: tables, queries, the work queue and encryption at rest."""
