"""The statement of account as a PDF."""
