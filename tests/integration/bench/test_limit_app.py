"""The bench starts the limit app as `make bench` does, with a gunicorn configuration of its own."""

from pathlib import Path

import requests

# The whole bench is imported, so that an import that no longer holds fails here.
import bench.__main__
from bench import running
from bench.dataset import Dataset


def test_the_limit_app_starts_and_answers_without_the_service(tmp_path: Path) -> None:
    """No database is needed: the app connects with the first request that asks for rows."""
    assert bench.__main__.GROUPS
    unused = Dataset("postgresql://127.0.0.1:9/none", 0)
    with running.limit_app(unused, logs=tmp_path) as (port, _):
        answer = requests.get(f"http://127.0.0.1:{port}/hello", timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"hello": "world"})
