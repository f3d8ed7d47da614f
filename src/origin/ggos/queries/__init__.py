"""SQL about GGOs."""
