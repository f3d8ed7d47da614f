"""The service's peers as small, honest servers: ledger, Hydra, DataHub, EnergyType, a receiver."""
