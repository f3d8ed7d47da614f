"""Checks what the service needs from outside: `flask doctor`."""
