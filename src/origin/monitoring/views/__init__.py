"""HTTP for operators and API readers."""
