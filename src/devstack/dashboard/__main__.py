"""Writes the dashboard to a file: `python -m devstack.dashboard doc/operations/grafana-dashboard.json`."""

import sys
from pathlib import Path

from devstack.dashboard.grafana import dashboard_text
from devstack.dashboard.rows import ROWS

Path(sys.argv[1]).write_text(dashboard_text(ROWS))
