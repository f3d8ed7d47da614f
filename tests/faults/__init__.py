"""The whole system under damage; a package, so that its tests can share one system."""
