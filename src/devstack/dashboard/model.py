"""What a dashboard consists of, and the parts of its queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from origin.telemetry.metrics import NAMESPACE

Threshold = tuple[float, str]
"""From this value on, a panel has this colour."""


class Kind(Enum):
    """How a panel shows its series; the values are Grafana's panel types."""

    STAT = "stat"
    GRAPH = "timeseries"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    :param queries: PromQL with Grafana's variables, by the legend of its series. A legend may name
        labels: `{{status}}`.
    :param description: What is shown, and what a good value is.
    :param unit: Grafana's id of the unit; `s`, `reqps`, `bytes`, `percentunit` (a share), …
    :param alerts: The runbook's sections that help if the value is bad.
    :param thresholds: In ascending order. Below the first one, the value is good.
    :param texts: Words that replace values.
    :param width: Of Grafana's 24 columns.
    :param from_zero: Whether a graph's axis begins at 0.
    """

    title: str
    description: str
    queries: dict[str, str]
    unit: str = "short"
    kind: Kind = Kind.GRAPH
    alerts: Sequence[str] = ()
    thresholds: Sequence[Threshold] = ()
    texts: Sequence[tuple[float, str, str]] = ()
    """(value, text, colour)."""
    width: int = 8
    from_zero: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """A row of panels, which can be closed. Grafana runs no query of a closed row."""

    title: str
    panels: Sequence[Panel]
    is_open: bool = False


def gauge(name: str, *matchers: str) -> str:
    """Select a database gauge: every web shows the same value, so take `max`, never `sum`."""
    return _selector(name, *matchers)


def own(name: str, *matchers: str) -> str:
    """Select what each process shows of itself, for the chosen instances."""
    return _selector(name, *matchers, 'instance=~"$instance"')


def rate(name: str, *matchers: str) -> str:
    """Return a counter's growth in a second."""
    return f"rate({own(name, *matchers)}[$__rate_interval])"


def in_an_hour(name: str, *matchers: str) -> str:
    """Return a counter's growth in the last hour: for what happens seldom."""
    return f"increase({own(name, *matchers)}[1h])"


def percentile(share: float, name: str, *labels: str, matchers: Sequence[str] = ()) -> str:
    """Return this percentile of a histogram, in seconds, for each value of the labels."""
    by = ", ".join(("le", *labels))
    return f"histogram_quantile({share}, sum by ({by}) ({rate(f'{name}_bucket', *matchers)}))"


def or_zero(total: str) -> str:
    """Return 0 where a total has no series, provided that Prometheus reaches any process at all."""
    return f"({total}) or 0 * max({own('build_info')})"


def with_total(label: str, parts: str, total: str) -> str:
    """Return the parts and a series `all`, so that a graph without parts shows 0, not "No data"."""
    return f'{parts} or label_replace({total}, "{label}", "all", "", "")'


def of_our_processes(name: str) -> str:
    """Select a metric that other programs have, too, for our processes alone."""
    mine = f'{name}{{namespace=~"$namespace",job=~"$job",instance=~"$instance"}}'
    return f"{mine} and on (job, instance) {own('build_info')}"


def _selector(name: str, *matchers: str) -> str:
    every = ",".join(('namespace=~"$namespace"', 'job=~"$job"', *matchers))
    return f"{NAMESPACE}_{name}{{{every}}}"
