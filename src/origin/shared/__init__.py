"""Small helpers that several features need."""
