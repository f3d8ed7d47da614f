"""Makes Grafana's dashboard: doc/operations/grafana-dashboard.json (decision 37)."""
