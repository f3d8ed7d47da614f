"""The orders in which GGOs are spent."""

import itertools

import pytest

from origin.bulk.rules.stock import GgoOrder, in_order
from tests.support.bulk import at, ggo

_STOCK = [
    ggo("small, expires first", 5, hour=2, expire_time=at(100)),
    ggo("oldest", 20, hour=0, expire_time=at(300)),
    ggo("middle", 10, hour=1, expire_time=at(200)),
    ggo("newest and largest", 40, hour=3, expire_time=at(400)),
]


@pytest.mark.parametrize(
    ("order", "addresses"),
    [
        (
            GgoOrder.EXPIRY_FIRST,
            ["small, expires first", "middle", "oldest", "newest and largest"],
        ),
        (
            GgoOrder.OLDEST_FIRST,
            ["oldest", "middle", "small, expires first", "newest and largest"],
        ),
        (
            GgoOrder.NEWEST_FIRST,
            ["newest and largest", "small, expires first", "middle", "oldest"],
        ),
        (
            GgoOrder.LARGEST_FIRST,
            ["newest and largest", "oldest", "middle", "small, expires first"],
        ),
    ],
)
def test_each_order(order, addresses):
    assert [each.address for each in in_order(_STOCK, order)] == addresses


def _alike(address, **other):
    return ggo(address, 7, **{"expire_time": at(500), "issue_time": at(50), **other})


_TIES = [
    _alike("b", hour=0, sector="DK2", issue_time=at(40)),
    _alike("e", hour=1, sector="DK1", issue_time=at(30)),
    _alike("d", hour=1, sector="DK1", issue_time=at(60)),
    _alike("f", hour=1, sector="DK1", issue_time=at(60)),
    _alike("a", hour=1, sector="DK2", issue_time=at(20)),
]
"""In the order of ties: by begin, sector, issue time, address."""


@pytest.mark.parametrize("order", [GgoOrder.EXPIRY_FIRST, GgoOrder.LARGEST_FIRST])
def test_ties_go_by_begin_sector_issue_time_and_address(order):
    for shuffled in itertools.permutations(_TIES):
        assert in_order(shuffled, order) == _TIES


def test_ties_of_a_begin_keep_their_order_also_with_the_newest_first():
    first, *hour_1 = _TIES
    for shuffled in itertools.permutations(_TIES):
        assert in_order(shuffled, GgoOrder.OLDEST_FIRST) == _TIES
        assert in_order(shuffled, GgoOrder.NEWEST_FIRST) == [*hour_1, first]
