"""HTTP of bulk orders."""
