"""The environment declaration as a PDF: content, charts, formatting and texts."""
