"""How large an order and its plan may be. These limits are told before anything else that is wrong."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time

from origin.errors import Rejected

MAX_TARGETS = 100
MAX_LIST = 10_000
"""Entries of one list of the request, for example of addresses."""
MAX_YEARS = 2
"""Length of a period of the request."""
MAX_SOURCES = 10_000
"""GGOs that one plan spends. More may be selected."""
MAX_PARTS_OF_ONE = 1_000
"""Parts that one GGO is split into, the remainder included."""
MAX_PARTS = 20_000
"""Parts of all GGOs of a plan, remainders included."""
MAX_CANDIDATES = 100_000
"""GGOs that are read for one plan. More may be selected if whole GGOs are used in their order."""
MAX_CANDIDATES_IN_REQUEST = 500
"""With more candidates, a worker plans the order."""
MAX_PAGED_MEASUREMENTS_IN_REQUEST = 2_000
"""Measurements that must be read page by page. With more of them, a worker plans the order."""


@dataclass(eq=False)
class TooMany(Rejected):
    """The order or its plan is too large; `count` says how large.

    :ivar what: What is counted, in words.
    :ivar most: How many are allowed.
    """

    code = "too_many"
    what: str
    count: int
    most: int


def check_request_size(
    targets: int, lists: Mapping[str, int], periods: Iterable[tuple[datetime, datetime]]
) -> None:
    """Check the limits that the request alone can break. Call it before any other check.

    :param lists: The number of entries of each list, by its name.
    :param periods: Begin and end of each period, in the period's own time zone or as written with an
        offset: years are counted on the calendar, for example from 1 March 2026 to 1 March 2028. Those from
        29 February end on 28 February.
    :raises TooMany: The first limit that is broken. A period's `count` is the years that have begun in it.
    """
    _check("targets", targets, MAX_TARGETS)
    for name, length in lists.items():
        _check(f"entries of {name}", length, MAX_LIST)
    for begin, end in periods:
        years = end.year - begin.year + (_in_its_year(end) > _in_its_year(begin))
        _check("years of a period", years, MAX_YEARS)


def _in_its_year(moment: datetime) -> tuple[int, int, time]:
    """Return what the calendar and the clock show, without the year."""
    return moment.month, moment.day, moment.time()


def check_plan_size(sources: int, parts: int, most_of_one: int) -> None:
    """Check the limits that only a plan can break.

    :param sources: GGOs that it spends.
    :param parts: Parts of all of them, remainders included.
    :param most_of_one: The most parts that one of them has.
    :raises TooMany: The first limit that is broken.
    """
    _check("source GGOs", sources, MAX_SOURCES)
    _check("parts of one GGO", most_of_one, MAX_PARTS_OF_ONE)
    _check("parts", parts, MAX_PARTS)


def check_candidates(selected: int, read: int) -> None:
    """Check that all GGOs that matter to a plan were read.

    :param selected: How many are selected.
    :param read: The most that were read.
    :raises TooMany: There are more.
    """
    _check("selected GGOs", selected, read)


def is_planned_in_request(candidates: int, paged_measurements: int) -> bool:
    """Tell whether the request itself plans the order, and not a worker.

    :param paged_measurements: How many measurements must be read page by page.
    """
    few = candidates <= MAX_CANDIDATES_IN_REQUEST
    return few and paged_measurements <= MAX_PAGED_MEASUREMENTS_IN_REQUEST


def check_dry_run(paged_measurements: int) -> None:
    """Check that a dry run, which a request always plans itself, need not read too much.

    :raises TooMany: It must.
    """
    most = MAX_PAGED_MEASUREMENTS_IN_REQUEST
    _check("measurements to read page by page", paged_measurements, most)


def _check(what: str, count: int, most: int) -> None:
    if count > most:
        raise TooMany(what, count, most)
