"""Environment declarations."""
