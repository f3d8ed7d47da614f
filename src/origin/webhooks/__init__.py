"""Webhooks to subscribers: subscriptions, outbox, delivery."""
