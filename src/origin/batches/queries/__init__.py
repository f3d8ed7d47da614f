"""SQL of batches."""
