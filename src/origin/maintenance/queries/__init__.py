"""SQL of maintenance."""
