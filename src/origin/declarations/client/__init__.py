"""The peers' figures for declarations."""
