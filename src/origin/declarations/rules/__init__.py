"""Rules of declarations."""
