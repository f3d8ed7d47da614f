"""The HTTP views: they read requests, call use cases and word the answers."""
