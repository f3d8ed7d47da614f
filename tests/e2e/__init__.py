"""The whole system, seen from outside; a package, so that its tests can share one system."""
