"""HTTP of GGOs and transfers."""
