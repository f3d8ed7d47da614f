"""Reads parsed PromQL."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser

_OPERATORS = (
    (promql_parser.MatchOp.Equal, "="),
    (promql_parser.MatchOp.NotEqual, "!="),
    (promql_parser.MatchOp.Re, "=~"),
    (promql_parser.MatchOp.NotRe, "!~"),
)


@dataclass(frozen=True)
class Selector:
    """A metric in a query.

    :param matchers: (label, operator and value).
    :param grouped_by: The labels of the aggregation around it.
    """

    metric: str
    matchers: frozenset[tuple[str, str]]
    grouped_by: frozenset[str]

    def finds(self, samples: Iterable[Mapping[str, str]]) -> bool:
        """Return whether a sample has all the labels that are named, and the values after `=`.

        Prometheus itself adds `namespace`, `job` and `instance`.
        """
        values = {
            (label, text.removeprefix("="))
            for label, text in self.matchers
            if text.startswith("=") and not text.startswith("=~")
        }
        named = self.grouped_by | {label for label, _ in self.matchers}
        named -= {"namespace", "job", "instance"}
        return any(values <= labels.items() and named <= labels.keys() for labels in samples)


def selectors(node: Any, grouped_by: frozenset[str] = frozenset()) -> Iterator[Selector]:
    """Return the selectors of a parsed query."""
    if isinstance(node, promql_parser.VectorSelector):
        matchers = frozenset(
            (each.name, _written(each.op) + each.value) for each in node.matchers.matchers
        )
        yield Selector(node.name, matchers, grouped_by)
    elif isinstance(node, promql_parser.MatrixSelector):
        yield from selectors(node.vector_selector, grouped_by)
    elif isinstance(node, promql_parser.AggregateExpr):
        labels = frozenset(node.modifier.labels) if node.modifier else frozenset()
        yield from selectors(node.expr, labels)
    else:
        for part in (
            getattr(node, "lhs", None),
            getattr(node, "rhs", None),
            getattr(node, "expr", None),
            *getattr(node, "args", ()),
        ):
            if part is not None:
                yield from selectors(part, grouped_by)


def _written(operator: promql_parser.MatchOp) -> str:
    return next(text for each, text in _OPERATORS if each == operator)
