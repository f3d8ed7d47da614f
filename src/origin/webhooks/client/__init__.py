"""Subscribers' servers."""
