"""How fast the service is on a large database: `python -m bench` (doc/bench.md)."""
