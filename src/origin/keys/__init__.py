"""Key derivation, encryption at rest, and cached public branch keys."""
