"""HTTP to peers, and DataHub's client."""
