"""SQL of recovery."""
