"""SQL of compose."""
