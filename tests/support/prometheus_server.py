"""Runs Prometheus on the loopback address, and queries it."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from devstack.environment import inherited
from devstack.ports import LOOPBACK, free_port
from devstack.processes import ROOT, SupervisedProcess, answers

# Debian's package `prometheus`, unpacked there by deploy/install-prometheus.
_UNPACKED = ROOT / ".run/prometheus/usr/bin"
_RULES = ROOT / "doc/operations/prometheus-alerts.yaml"
_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), *(?P<label>\w+)\)")

Series = dict[str, Any]
"""`metric` (labels), and `value` or `values`, as Prometheus answers."""


class Prometheus:
    """A client of Prometheus' HTTP API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def now(self, query: str) -> list[Series]:
        """Return the current value of each series."""
        return list(self._get("query", query=query)["result"])

    def over_time(self, query: str, begin: float, end: float, step: float) -> list[Series]:
        """Return each series' values between two times (Unix), every `step` seconds."""
        found = self._get("query_range", query=query, start=begin, end=end, step=step)
        return list(found["result"])

    def label_values(self, query: str) -> set[str]:
        """Return what Grafana's `label_values(selector, label)` offers."""
        parts = _LABEL_VALUES.fullmatch(query)
        assert parts is not None, query
        return set(self._get(f"label/{parts['label']}/values", **{"match[]": parts["selector"]}))

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        alerts = self._get("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    def evaluates_all_rules(self) -> bool:
        """Return whether each alert rule has been evaluated without an error."""
        groups = self._get("rules")["groups"]
        return {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}

    def _get(self, path: str, **parameters: Any) -> Any:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30)
        body = answer.json()
        assert body["status"] == "success", f"{parameters}: {body}"
        return body["data"]


@contextmanager
def running_prometheus(
    jobs: Mapping[str, Mapping[str, str]],
    targets: Sequence[str],
    *,
    interval_s: int,
    folder: Path,
    rules: Path = _RULES,
    lookback_s: int = 300,
) -> Iterator[Prometheus]:
    """Run Prometheus with our alerts.

    :param jobs: The labels that each job adds to all targets, by the job's name.
    :param targets: `host:port` of each process.
    :param rules: The file of alert rules.
    :param lookback_s: For how long a sample counts as current.
    :raises FileNotFoundError: Prometheus isn't installed.
    """
    program = shutil.which("prometheus", path=f"{os.environ['PATH']}:{_UNPACKED}")
    if program is None:
        raise FileNotFoundError("Prometheus is not installed: run deploy/install-prometheus")
    configuration = folder / "prometheus.json"
    # JSON is YAML, too.
    configuration.write_text(
        json.dumps(
            {
                "global": {
                    "scrape_interval": f"{interval_s}s",
                    "evaluation_interval": f"{interval_s}s",
                },
                "rule_files": [str(rules)],
                "scrape_configs": [
                    {
                        "job_name": name,
                        "static_configs": [{"targets": list(targets), "labels": dict(labels)}],
                    }
                    for name, labels in jobs.items()
                ],
            }
        )
    )
    url = f"http://{LOOPBACK}:{free_port()}"
    process = SupervisedProcess(
        "prometheus",
        [
            program,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            f"--query.lookback-delta={lookback_s}s",
        ],
        env=inherited(),
        logs=folder,
        ready=answers(f"{url}/-/ready"),
    )
    with process:
        yield Prometheus(url)


def scraped(prometheus: Prometheus, targets: Sequence[str], jobs: int) -> bool:
    """Return whether every target has been scraped for every job."""
    return len(prometheus.now("up == 1")) == len(targets) * jobs
