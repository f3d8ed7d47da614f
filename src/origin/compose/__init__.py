"""Compose: split a GGO into transfers and retires."""
