"""SQL of bulk orders."""
