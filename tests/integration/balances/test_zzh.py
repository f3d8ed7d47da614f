"""Random histories of two accounts in a real database, told by a plain bookkeeper.

At each step the answer about now is the bookkeeper's, and it stays the answer about that moment. The
entries add up to it, and those that were read once never change.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from origin.balances.rules.balance import Balances, GroupBy
from origin.balances.rules.entries import EntryFilters
from origin.balances.service.balances import BalanceService
from origin.balances.service.moments import Moments
from origin.db.engine import Database
from origin.shared.periods import EARLIEST, LATEST
from tests.support.account_book import (
    USERS,
    BookBatch,
    BookGgo,
    Bookkeeper,
    OrderedWorld,
    Piece,
    group_of,
)
from tests.support.entries_fold import FOLDED, JsonEntry, check_identity, fold, fold_by_group
from tests.support.world import World

ZONE = "Europe/Copenhagen"
GROUPING = ("sector", "technology", "month")
_BEGINS = [
    datetime(2026, 2, 28, 22, tzinfo=UTC),
    datetime(2026, 2, 28, 23, tzinfo=UTC),
    datetime(2026, 3, 31, 22, tzinfo=UTC),
]
"""Local hours around the ends of months, in winter and in summer time."""
_LIVES_S = 0.06


class Histories(RuleBasedStateMachine):
    """See the module."""

    database: Database
    ledger_enabled = True
    sends = (True,)
    """Whether orders go to the ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.world = OrderedWorld(self.database)
        self.book = Bookkeeper(self.ledger_enabled)
        self.service = BalanceService(
            self.database, Moments(self.database), ledger_enabled=self.ledger_enabled
        )
        self.batches: list[BookBatch] = []
        self.told: dict[str, list[Balances]] = {user: [] for user in USERS}
        self.read: dict[str, list[JsonEntry]] = {user: [] for user in USERS}

    @initialize()
    def begin(self) -> None:
        for user in USERS:
            self.book.issue(self.world.issue(user, 100, _BEGINS[0]))

    @rule(
        user=st.sampled_from(USERS),
        amount=st.integers(1, 100),
        begin=st.sampled_from(range(len(_BEGINS))),
        sector=st.sampled_from(["DK1", "DK2"]),
        codes=st.tuples(st.sampled_from(["T1", "T2"]), st.sampled_from(["F1", "F2"])),
        expires=st.booleans(),
        mismatch=st.sampled_from([False, False, False, True]),
    )
    def issue_ggo(
        self,
        user: str,
        amount: int,
        begin: int,
        sector: str,
        codes: tuple[str, str],
        expires: bool,
        mismatch: bool,
    ) -> None:
        lives_s = _LIVES_S if expires else None
        self.book.issue(
            self.world.issue(
                user,
                amount,
                _BEGINS[begin],
                sector=sector,
                codes=codes,
                lives_s=lives_s,
                mismatch=mismatch,
            )
        )

    @precondition(lambda self: self._spendable(sent=self.sends[0]) or self._spendable(sent=False))
    @rule(data=st.data())
    def order(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from(self.sends))
        spendable = self._spendable(sent=sent)
        if not spendable:
            return
        source = data.draw(st.sampled_from(spendable))
        pieces = data.draw(_orders(source.amount))
        batch = self.world.compose(source, pieces, sent=sent)
        if batch is None:
            # It has expired meanwhile.
            return
        self.book.accept(batch)
        if sent:
            self.batches.append(batch)
        else:
            self.book.complete(batch)

    @precondition(lambda self: self._in("pending"))
    @rule(data=st.data(), outcome=st.sampled_from(["complete", "complete", "decline", "elsewhere"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        batch = data.draw(st.sampled_from(self._in("pending")))
        if outcome == "complete":
            self.world.complete(batch)
            self.book.complete(batch)
            return
        elsewhere = outcome == "elsewhere"
        self.world.decline(batch, elsewhere=elsewhere)
        self.book.decline(batch, elsewhere=elsewhere)

    @precondition(lambda self: self._redoable())
    @rule(data=st.data(), completes=st.booleans())
    def redo(self, data: st.DataObject, completes: bool) -> None:
        batch = data.draw(st.sampled_from(self._redoable()))
        self.world.redo(batch)
        batch.state = "pending"
        self.book.accept(batch)
        if completes:
            self.world.complete(batch)
            self.book.complete(batch)

    @rule()
    def let_expire(self) -> None:
        time.sleep(_LIVES_S)

    @rule()
    def forget_times(self) -> None:
        """Only of GGOs whose orders were never declined: the times of others stand nowhere else."""
        kept = {each.source.id for each in self.batches if each.state == "declined"}
        redone = self.world.sql("SELECT ggo_id FROM rollbacks WHERE redone_at IS NOT NULL")
        self.world.forget_times([*kept, *(row.ggo_id for row in redone)])

    @precondition(lambda self: len(self.told[USERS[0]]) > 5)
    @rule(user=st.sampled_from(USERS))
    def open_history(self, user: str) -> None:
        self.world.open_history(user)
        self.book.open_history(user)
        self.told[user], self.read[user] = [], []

    @invariant()
    def now_is_the_bookkeepers(self) -> None:
        for user in USERS:
            self._check_now(user)

    def teardown(self) -> None:
        for user in USERS:
            for told in self.told[user]:
                assert self._balances(user, told.at) == told
            check_pages(self._page(user), self.read[user])

    def _check_now(self, user: str) -> None:
        told = self._balances(user, None)
        self.told[user].append(told)
        expected = self.book.balance(user, told.at, _grouped)
        assert {each.values: dict(each.amounts) for each in told.groups} == expected
        check_identity(dict(told.total))
        for name in told.total:
            assert told.total[name] == sum(each[name] for each in expected.values())
        entries = read_up(self._page(user), 1000)
        before = self.read[user]
        assert entries[: len(before)] == before
        for earlier in self.told[user][-2:-1]:
            assert all(each["at"] > earlier.at for each in entries[len(before) :])
        self.read[user] = entries
        folded = fold_by_group(entries, GROUPING, told.at, ZONE)
        own = {group: {name: sums[name] for name in FOLDED} for group, sums in expected.items()}
        assert folded == {group: sums for group, sums in own.items() if any(sums.values())}
        for earlier in self.told[user][-4:-1]:
            assert fold(entries, earlier.at) == {name: earlier.total[name] for name in FOLDED}

    def _balances(self, user: str, at: datetime | None) -> Balances:
        grouping = [GroupBy(each) for each in GROUPING]
        return self.service.balances(self.world.users[user], at, grouping, ZoneInfo(ZONE))

    def _page(self, user: str) -> Callable[..., list[Any]]:
        filters = EntryFilters(EARLIEST, LATEST)
        user_id = self.world.users[user]
        return lambda after, limit: self.service.entries(user_id, filters, after, limit)

    def _spendable(self, *, sent: bool) -> list[BookGgo]:
        in_flight = {part.id for each in self._in("pending") for part in each.parts}
        return [
            each
            for each in self.book.ggos
            if each.state == "held"
            and not each.mismatch
            and each.id not in in_flight
            and not (each.unsent and sent)
        ]

    def _in(self, state: str) -> list[BookBatch]:
        return [each for each in self.batches if each.state == state]

    def _redoable(self) -> list[BookBatch]:
        in_flight = {part.id for each in self._in("pending") for part in each.parts}
        return [
            each
            for each in self._in("declined")
            if each.source in self.book.ggos
            and each.source.state in {"held", "elsewhere"}
            and each.source.id not in in_flight
        ]


@st.composite
def _orders(draw: st.DrawFn, amount: int) -> list[Piece]:
    """Pieces that make up this amount, the last of which may be kept."""
    cuts = sorted(draw(st.sets(st.integers(1, amount - 1), max_size=3))) if amount > 1 else []
    bounds = [0, *cuts, amount]
    sizes = [end - begin for begin, end in pairwise(bounds)]
    kinds = [draw(st.sampled_from(["send", "retire"])) for _ in sizes]
    if len(sizes) > 1 and draw(st.booleans()):
        kinds[-1] = "keep"
    return [
        Piece(kind, size, draw(st.sampled_from(USERS)) if kind == "send" else None)
        for kind, size in zip(kinds, sizes, strict=True)
    ]


def _grouped(ggo: BookGgo) -> tuple[str, ...]:
    return tuple(group_of(ggo, ZoneInfo(ZONE)).values())


def read_up(page: Callable[..., list[Any]], limit: int) -> list[JsonEntry]:
    """Return all entries as JSON-like objects, read in pages of this length."""
    found: list[Any] = []
    while True:
        rows = page(found[-1].key if found else None, limit)
        found += rows
        if len(rows) < limit:
            break
    return [_plain(each) for each in found]


def check_pages(page: Callable[..., list[Any]], entries: Sequence[JsonEntry]) -> None:
    """Check that short pages have the same entries, in the same order."""
    for limit in (1, 3):
        assert read_up(page, limit)[: len(entries)] == list(entries)


def _plain(entry: Any) -> JsonEntry:
    return {
        "id": entry.id,
        "at": entry.key.at,
        "kind": entry.kind.value,
        "amount": entry.amount,
        "from": entry.source,
        "to": entry.target,
        "ggo": {
            "address": entry.address,
            "begin": entry.begin,
            "sector": entry.sector,
            "technology": entry.technology,
        },
        "operation": entry.operation,
        "counterpart": entry.counterpart,
        "reference": entry.reference,
    }


_WAYS: dict[str, tuple[bool, tuple[bool, ...]]] = {
    "with a ledger": (True, (True,)),
    "without a ledger": (False, (False,)),
    "a ledger that was off at times": (True, (True, False)),
}


@pytest.mark.parametrize("way", _WAYS)
def test_any_history_has_one_answer_per_moment(world: World, way: str):
    machine = type("Machine", (Histories,), {"database": world.runtime.database})
    machine.ledger_enabled, machine.sends = _WAYS[way]  # type: ignore[attr-defined] # as above
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=45,
            deadline=None,
            # Steps take real time, and GGOs expire: a shorter history may end otherwise.
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_hours_at_the_ends_of_months_are_in_their_local_month():
    """The begins of the histories are of three local months: the clocks change between them."""
    zone = ZoneInfo(ZONE)
    local = [each.astimezone(zone) for each in _BEGINS]
    assert [f"{each:%Y-%m}" for each in local] == ["2026-02", "2026-03", "2026-04"]
    assert local[2].utcoffset() == local[0].utcoffset() + timedelta(hours=1)  # type: ignore[operator] # they have one
