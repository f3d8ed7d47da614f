"""SQL of operations and of idempotency keys."""
