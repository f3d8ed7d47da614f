"""Use cases of compose."""
