"""SQL of intake."""
