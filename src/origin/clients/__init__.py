"""The peers: one module for each, all over `origin.clients.http`."""
