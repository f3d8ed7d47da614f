"""Key derivation, sealing, and public halves of keys."""
