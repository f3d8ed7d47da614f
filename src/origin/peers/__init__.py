"""HTTP calls to peers, with limits and typed errors; and the client of DataHub."""
