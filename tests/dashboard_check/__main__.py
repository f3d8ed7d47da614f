"""`make dashboard-check`: evaluates the dashboard's queries by a real Prometheus.

It runs the whole system with traffic and faults. Each query must give series for the right namespace
and job, and none for others. `--picture FILE` draws the dashboard from the same queries, as SVG.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from devstack.configured import postgres_server, redis_server
from devstack.console import Console
from devstack.processes import ROOT
from tests.dashboard_check.picture import Evaluation, picture
from tests.dashboard_check.traffic import Faults, Traffic
from tests.support.dashboard_queries import ALL, DashboardQuery, filled, queries, variables
from tests.support.live_system import running_system
from tests.support.prometheus_server import Prometheus, running_prometheus, scraped
from tests.support.waiting import eventually

_PLAIN, _CLUSTER = "account-service", "accounts/pods"
_NAMESPACE = "accounts"
_SETTINGS = {"RECONCILE_INTERVAL": "60"}


def main(arguments: Sequence[str]) -> int:
    """Run the check; return the exit status."""
    options = _options(arguments)
    console = Console()
    (ROOT / ".run").mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=ROOT / ".run", prefix="dashboard-") as name,
        ExitStack() as on,
    ):
        folder = Path(name)
        with console.step("PostgreSQL, Redis, the peers, web, worker and beat"):
            uri = on.enter_context(postgres_server()).create_database("origin")
            redis = on.enter_context(redis_server())
            system = on.enter_context(running_system(uri, redis, folder, _SETTINGS))
        interval_s = max(1, round(options.minutes / 3))
        with console.step("Prometheus"):
            # The same processes, once as a plain configuration scrapes them, once as in a cluster.
            jobs = {_PLAIN: {}, _CLUSTER: {"namespace": _NAMESPACE}}
            targets = system.services.metrics_targets
            prometheus = on.enter_context(
                running_prometheus(jobs, targets, interval_s=interval_s, folder=folder)
            )
            eventually(
                lambda: scraped(prometheus, targets, len(jobs)), "all are scraped", within=60
            )
        begin = time.time()
        with (
            console.step(f"Trades and faults, {options.minutes:g} minutes"),
            Traffic(system).going_on(),
        ):
            Faults(system).run(options.minutes * 60 / 13)
            rate = f"{4 * interval_s}s"
            found = [
                *_wrong_queries(prometheus, begin, rate),
                *_wrong_variables(prometheus, targets),
            ]
            if options.picture:
                seen = Evaluation(prometheus, begin, time.time(), rate, _PLAIN)
                options.picture.write_text(picture(seen))
    for each in found:
        console.say(f"  ✗ {each}")
    if not found:
        console.say(
            f"  ✓ All {len(list(queries()))} queries give series, for their processes alone."
        )
    return int(bool(found))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make dashboard-check", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.5, help="how long users trade")
    parser.add_argument("--picture", type=Path, help="draw the dashboard into this file (SVG)")
    return parser.parse_args(arguments)


def _wrong_queries(prometheus: Prometheus, begin: float, rate: str) -> Iterator[str]:
    def has_series(query: DashboardQuery, scope: dict[str, str]) -> bool:
        filled_query = query.filled(**scope, rate=rate)
        if query.panel["type"] == "timeseries":
            return bool(prometheus.over_time(filled_query, begin, time.time(), 5))
        return bool(prometheus.now(filled_query))

    for query in queries():
        # Without a label `namespace`, and with one.
        for scope in ({"job": _PLAIN}, {"namespace": _NAMESPACE}, {"job": _CLUSTER}):
            if not has_series(query, scope):
                yield f"{query.name}: no series for {scope}"
        for scope in ({"job": "elsewhere"}, {"namespace": "elsewhere"}):
            if has_series(query, scope) and not ("job" in scope and "ALERTS" in query.expression):
                yield f"{query.name}: series of others for {scope}"


def _wrong_variables(prometheus: Prometheus, targets: Sequence[str]) -> Iterator[str]:
    expected = {
        "namespace": {_NAMESPACE},
        "job": {_PLAIN, _CLUSTER},
        "instance": set(targets),
    }
    for name, query in variables().items():
        values = prometheus.label_values(filled(query, namespace=ALL, job=ALL))
        if values != expected[name]:
            yield f"variable {name}: {values}, expected {expected[name]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
