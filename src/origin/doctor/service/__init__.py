"""Use case of the doctor."""
