"""Tests of the whole system with faults. A package, so that the tests share one system."""
