"""Tells operators whether everything that the service needs is well: `flask doctor`."""
