"""AccountService: accounts of granular guarantees of origin on top of a ledger."""

import gc

__version__ = "1.0.0"
"""The version of the service, by https://semver.org. CONTRIBUTING.md says how it changes, and what else names it."""

# Loading modules makes many objects and hardly any garbage. With Python's threshold of 700 new objects,
# looking for garbage takes a fifth of a process's start.
gc.set_threshold(50_000)
