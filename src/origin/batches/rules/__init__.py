"""Rules of batches."""
