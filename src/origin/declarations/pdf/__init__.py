"""The declaration as a PDF."""
