"""Adoption: takes over the database of the original service (`flask adopt`; doc/operations/adopting.md)."""
