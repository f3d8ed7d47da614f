"""HTTP of GGOs."""
