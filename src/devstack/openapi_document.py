"""Writes the API's OpenAPI description to a file: `python -m devstack.openapi_document FILE`."""

import json
import sys
from pathlib import Path

from origin.app import create_app
from origin.monitoring.views.description import document
from origin.settings import Settings

# Nothing connects to these addresses. The description contains those of example.com alone.
_URL = "http://127.0.0.1:1"
SETTINGS = {
    "service_name": "AccountService",
    "secret": "unused, but long enough",
    "cors_origins": "",
    "project_url": "https://accounts.example.com",
    "datahub_service_url": _URL,
    "ledger_url": _URL,
    "energy_type_service_url": _URL,
    "webhook_secret": "unused, but long enough",
    "hydra_url": "https://hydra.example.com",
    "hydra_introspect_url": _URL,
    "hydra_client_id": "unused",
    "hydra_client_secret": "unused",
    "redis_host": "127.0.0.1",
    "redis_port": "1",
    "redis_cache_db": "0",
    "redis_broker_db": "0",
    "redis_backend_db": "0",
    "database_uri": "postgresql://127.0.0.1:1/none",
}


def openapi_text() -> str:
    """Return the description as doc/openapi.json contains it."""
    app = create_app(Settings.of(SETTINGS))
    return json.dumps(document(app), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(openapi_text(), encoding="utf-8")
