"""Use cases of the adoption."""
