"""AccountService: accounts of granular guarantees of origin on top of a ledger."""

__version__ = "1.0.0"
"""The version of the service, by https://semver.org. CONTRIBUTING.md says how it changes, and what else names it."""
