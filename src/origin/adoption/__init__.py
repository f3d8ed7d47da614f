"""Adoption: brings the original service's database into this one (`flask adopt`; doc/operations/adopting.md)."""
