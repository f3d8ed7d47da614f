"""Rules of listings, sums and expiry."""
