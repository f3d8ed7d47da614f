"""Limits on values that several features keep (doc/architecture.md, Limits)."""

MAX_WH = 2**63 - 1
"""Wh; the largest number that PostgreSQL's bigint holds."""

MAX_TEXT_BYTES = 500
"""Bytes of a stored string, in UTF-8. Four such texts fit into one index entry of PostgreSQL (2,704 bytes)."""

MAX_IDEMPOTENCY_KEY_LENGTH = 255
"""Characters."""
