"""What development, tests and the demo stand on: embedded servers, supervised processes, a client.

Nothing here runs in production, and the service never imports it.
"""
