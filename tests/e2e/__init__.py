"""Tests of the whole system from outside. A package, so that the tests share one system."""
