"""Tools for development, tests and the demo: embedded servers, supervised processes, API clients.

Nothing here runs in production, and the service never imports it.
"""
