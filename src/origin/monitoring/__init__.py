"""Health, metrics, and the API's description."""
