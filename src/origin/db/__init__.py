"""The database: tables, connections, session settings, locks, and what its errors mean."""
