"""Rules of listings and sums."""
