"""The domain in memory, for thousands of steps: compose, commit, roll back, replay, crash between.

The rules are the service's own (`origin.*.rules`); books and ledger are dictionaries here. Whatever
is done in whatever order, and whatever is lost on the way: what became of a GGO sums to what was
issued, nothing is spent twice, and books and ledger agree once all is quiet. So it is where someone
else has a key, where POSTs arrive after their batch was declined, and where the books are restored
from a backup: what the ledger doesn't have is never completed.
"""

import copy
import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from origin.batches.rules.ledger_state import LedgerGgo, LedgerNext, LedgerSettlement
from origin.batches.rules.standing import Operation, Target, spent_by
from origin.batches.rules.verdicts import (
    POST_HELD_UP_S,
    BatchStatus,
    SpentBy,
    Verdict,
    judge,
    needs_state,
)
from origin.compose.rules import (
    ConsumptionPoint,
    Measurement,
    Order,
    Part,
    PartKind,
    Recipient,
    Retire,
    Source,
    Transfer,
    check_headroom,
    check_measurements,
    check_order,
    is_whole_retire,
    parts_of,
)
from origin.errors import Rejected
from origin.keys.derivation import settlement_address

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
END = BEGIN + timedelta(hours=1)
EXPIRES = BEGIN + timedelta(days=1)
USERS = {"anna": Recipient(1, disabled=False), "bo": Recipient(2, disabled=False)}
MEASURED_WH = 150
METERS = {1: "meter-1", 2: "meter-2"}
MEASURED = {1: "5a9839" + "1" * 64, 2: "5a9839" + "2" * 64}
"""The addresses of what they measured."""


@dataclass
class Held:
    """A GGO in the books."""

    id: int
    owner: int
    amount: int
    parent: int | None = None
    stored: bool = True
    retired: bool = False
    locked: bool = False
    elsewhere: bool = False

    @property
    def address(self) -> str:
        return f"ggo-{self.id}"


@dataclass
class Flight:
    """A batch: what it would do on the ledger, and what is known of its POSTs."""

    uid: int
    source: int
    operation: Operation
    posts: int = 0
    refused: int = 0
    answered: int = 0
    last_post_s: float = 0
    end: str = ""

    @property
    def targets(self) -> dict[str, int]:
        return {each.address: each.amount for each in self.operation.targets}


@dataclass
class Ledger:
    """State, and a memory of batches that comes and goes; it knows them by their uid."""

    amounts: dict[str, int] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    following: dict[str, LedgerNext] = field(default_factory=dict)
    settled: dict[str, dict[str, int]] = field(default_factory=dict)
    queue: list[Flight] = field(default_factory=list)
    memory: dict[int, BatchStatus] = field(default_factory=dict)
    committed: set[int] = field(default_factory=set)

    def read_ggo(self, address: str) -> LedgerGgo | None:
        if address not in self.amounts:
            return None
        origin, following = self.origins[address], self.following.get(address)
        amount = self.amounts[address]
        return LedgerGgo(address, origin, amount, BEGIN, END, "DK1", "T", "F", following)

    def read_settlement(self, address: str) -> LedgerSettlement | None:
        for measurement, parts in self.settled.items():
            if settlement_address(measurement) == address:
                return LedgerSettlement(measurement, dict(parts))
        return None

    def takes(self, flight: Flight) -> None:
        """What arrives is executed once; an INVALID one again when it is forgotten."""
        if flight.uid not in self.memory and flight.uid not in self.committed:
            self.memory[flight.uid] = BatchStatus.PENDING
            self.queue.append(flight)

    def execute(self, operation: Operation) -> bool:
        """Do it, all or nothing, as the domain's rules allow."""
        targets = {each.address: each for each in operation.targets}
        if operation.source in self.following or targets.keys() & self.amounts.keys():
            return False
        settled = copy.deepcopy(self.settled)
        whole = Target(operation.source, self.amounts[operation.source], operation.retired_to)
        retired = [each for each in (whole, *targets.values()) if each.retired_to]
        for each in retired:
            settled.setdefault(str(each.retired_to), {})[each.address] = each.amount
        if any(sum(parts.values()) > MEASURED_WH for parts in settled.values()):
            return False
        if targets:
            total = sum(each.amount for each in targets.values())
            assert total == self.amounts[operation.source]
            self.following[operation.source] = LedgerNext("SPLIT", tuple(targets))
        self.settled = settled
        for each in targets.values():
            self.amounts[each.address] = each.amount
            self.origins[each.address] = operation.source
        for each in retired:
            at = settlement_address(str(each.retired_to))
            self.following[each.address] = LedgerNext("RETIRE", (at,))
        return True


Wish = tuple[list[int], list[int], str, bool]
amounts = st.lists(st.one_of(st.sampled_from([30, 50]), st.integers(1, 60)), max_size=2)
"""Some of them often, so that what is lost and what comes after it look alike."""
wishes = st.tuples(amounts, amounts, st.sampled_from(sorted(USERS)), st.booleans())
"""What to transfer and to retire, to whom; or whether to retire it whole."""


class Trading(RuleBasedStateMachine):
    """Two users, one hour, and a ledger that may do anything but break its own rules."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.clock_s = 0.0
        self.uids = itertools.count()
        self.on_their_way: list[Flight] = []
        self.undone: dict[int, list[tuple[int, int]]] = {}
        self.lost_something = False
        self.books: dict[int, Held] = {}
        self.flights: list[Flight] = []
        self.ledger = Ledger()
        self.issued = 0
        for owner in (1, 2):
            self._issue(owner, 100)

    def _add(self, owner: int, amount: int, **how: object) -> Held:
        ggo = Held(len(self.books) + 1000 * len(self.flights), owner, amount)
        while ggo.id in self.books:
            ggo.id += 1
        self.books[ggo.id] = replace(ggo, **how)
        return self.books[ggo.id]

    def _issue(self, owner: int, amount: int) -> None:
        ggo = self._add(owner, amount)
        self.ledger.amounts[ggo.address] = amount
        self.ledger.origins[ggo.address] = "measured"
        self.issued += amount

    @rule(owner=st.sampled_from([1, 2]), amount=st.integers(1, 50))
    def issue(self, owner: int, amount: int) -> None:
        if len(self.books) < 60:
            self._issue(owner, amount)

    @rule()
    def time_passes(self) -> None:
        self.now += timedelta(hours=2)

    @rule(seconds=st.sampled_from([1.0, 60.0, POST_HELD_UP_S]))
    def the_clock_goes_on(self, seconds: float) -> None:
        self.clock_s += seconds

    @rule(pick=st.integers(0, 1000), wish=wishes)
    def compose(self, pick: int, wish: Wish) -> None:
        ggo = sorted(self.books.values(), key=lambda each: each.id)[pick % len(self.books)]
        gsrn = METERS[ggo.owner]
        transfers, retires, to, whole = wish
        if whole:
            transfers, retires = [], [ggo.amount]
        order = Order(
            ggo.address,
            [Transfer(amount, to) for amount in transfers],
            [Retire(amount, gsrn) for amount in retires],
        )
        try:
            parts = self._parts(order, ggo, gsrn)
        except Rejected:
            return
        self._write(ggo, parts)

    @rule(pick=st.integers(0, 1000), lost=wishes, again=wishes)
    def a_restore_loses_a_compose(self, pick: int, lost: Wish, again: Wish) -> None:
        """The ledger has it; the same GGO is composed anew, to the same addresses."""
        backup = copy.deepcopy((self.books, self.flights))
        self.compose(pick, lost)
        if len(self.flights) == len(backup[1]):
            return
        self._post(self.flights[-1], "taken")
        self.block(refuse=False)
        self.books, self.flights = backup
        self.lost_something = True
        self.compose(pick, again)

    @rule(pick=st.integers(0, 1000))
    def refused_while_a_post_is_held_up(self, pick: int) -> None:
        flight = self._picked(pick)
        if flight is not None and not flight.end:
            self._post(flight, "held up")
            self._post(flight, "taken")
            self.block(refuse=True)
            self._follow(flight)

    def _parts(self, order: Order, ggo: Held, gsrn: str) -> list[Part]:
        source = Source(
            ggo.id, ggo.owner, ggo.address, ggo.amount, BEGIN, END, "DK1", EXPIRES,
            stored=ggo.stored, retired=ggo.retired, locked=ggo.locked, key_mismatch=False,
        )  # fmt: skip
        measurement = Measurement(
            MEASURED[ggo.owner], gsrn, BEGIN, END, "DK1", MEASURED_WH,
            is_consumption=True, address_holds=True,
        )  # fmt: skip
        points = {gsrn: ConsumptionPoint(1, gsrn)}
        check_order(order, source, USERS, points, self.now)
        checked = check_measurements(order, source, {gsrn: measurement})
        taken = sum(
            each.amount for each in self.books.values() if each.retired and each.owner == ggo.owner
        )
        check_headroom(order, checked, {measurement.address: taken})
        return parts_of(order, source, USERS, checked)

    def _write(self, ggo: Held, parts: list[Part]) -> None:
        ggo.stored, ggo.locked = False, True
        if is_whole_retire(parts):
            ggo.retired = True
            self._fly(ggo, MEASURED[ggo.owner], [])
            return
        targets = []
        for part in parts:
            retired = part.kind is PartKind.RETIRE
            child = self._add(
                part.owner_id, part.amount, parent=ggo.id,
                stored=not retired, retired=retired, locked=True,
            )  # fmt: skip
            targets.append(Target(child.address, child.amount, part.retire_address))
        self._fly(ggo, None, targets)

    def _fly(self, ggo: Held, retired_to: str | None, targets: list[Target]) -> None:
        operation = Operation(ggo.address, ggo.amount, retired_to, targets)
        self.flights.append(Flight(next(self.uids), ggo.id, operation))

    def _picked(self, pick: int) -> Flight | None:
        return self.flights[pick % len(self.flights)] if self.flights else None

    @rule(
        pick=st.integers(0, 1000),
        how=st.sampled_from(["taken", "lost", "refused", "answer lost", "held up"]),
    )
    def post(self, pick: int, how: str) -> None:
        """A POST is counted before it is sent; the worker may die before it knows the answer."""
        flight = self._picked(pick)
        if flight is not None and not flight.end:
            self._post(flight, how)

    def _post(self, flight: Flight, how: str) -> None:
        flight.posts += 1
        flight.last_post_s = self.clock_s
        flight.refused += how == "refused"
        flight.answered += how in {"refused", "taken"}
        if how in {"taken", "answer lost"}:
            self.ledger.takes(flight)
        elif how == "held up":
            self.on_their_way.append(flight)

    @rule()
    def what_was_held_up_arrives(self) -> None:
        """However late: the batch may have ended since."""
        while self.on_their_way:
            self.ledger.takes(self.on_their_way.pop())

    @rule(pick=st.integers(0, 1000))
    def someone_else_spends(self, pick: int) -> None:
        """Who has a key can."""
        unspent = sorted(self.ledger.amounts.keys() - self.ledger.following.keys())
        address = unspent[pick % len(unspent)] if unspent else None
        if address in {each.address for each in self.books.values()} and pick % 5 == 0:
            stranger = Target(f"strange-{address}", self.ledger.amounts[str(address)])
            self.ledger.execute(Operation(str(address), stranger.amount, None, [stranger]))

    @rule(refuse=st.booleans())
    def block(self, refuse: bool) -> None:
        """The ledger executes what waits; it may find anything invalid, for reasons of its own."""
        for flight in self.ledger.queue:
            ok = not refuse and self.ledger.execute(flight.operation)
            self.ledger.memory[flight.uid] = BatchStatus.COMMITTED if ok else BatchStatus.INVALID
            if ok:
                self.ledger.committed.add(flight.uid)
        self.ledger.queue = []

    @rule(lose_committed=st.booleans())
    def ledger_restarts(self, lose_committed: bool) -> None:
        """It forgets what waited and what was invalid, and perhaps what it committed."""
        self.ledger.queue = []
        self.ledger.memory = {
            uid: status
            for uid, status in self.ledger.memory.items()
            if status is BatchStatus.COMMITTED and not lose_committed
        }

    @rule(pick=st.integers(0, 1000), crash=st.booleans(), is_stuck=st.booleans())
    def follow(self, pick: int, crash: bool, is_stuck: bool) -> None:
        """Ask, judge, and act; a crash in between means that all of it is done again later."""
        flight = self._picked(pick)
        if flight is not None and not crash:
            self._follow(flight, is_stuck=is_stuck)

    def _follow(self, flight: Flight, *, is_stuck: bool = False) -> None:
        if flight.end or not flight.posts:
            return
        status = self.ledger.memory.get(flight.uid, BatchStatus.UNKNOWN)
        source = None
        if needs_state(status, is_stuck=is_stuck):
            record = self.ledger.read_ggo(flight.operation.source)
            source = spent_by(flight.operation, record, self.ledger)
        held_up = flight.last_post_s > self.clock_s - POST_HELD_UP_S
        verdict = judge(
            status,
            source,
            refused=flight.posts == flight.refused,
            none_on_its_way=flight.posts == flight.answered or not held_up,
        )
        assert verdict is not Verdict.ALERT
        if verdict is Verdict.COMPLETE:
            self._complete(flight)
        elif verdict is Verdict.DECLINE:
            assert flight.operation.source not in self.ledger.following
            self._decline(flight, elsewhere=False)
        elif verdict is Verdict.DECLINE_SPENT:
            assert flight.operation.source in self.ledger.following
            self._decline(flight, elsewhere=True)
            self._redo_standing(flight.source)
        elif verdict is Verdict.POST:
            self._post(flight, "taken")

    def _redo_standing(self, source_id: int) -> None:
        """As `origin.batches.service.redo` does: a declined batch that the ledger has is done again."""
        source = self.books[source_id]
        if not (source.elsewhere or (source.stored and not source.locked)):
            return
        record = self.ledger.read_ggo(source.address)
        for flight in reversed(self.flights):
            is_declined = flight.source == source_id and flight.end == "DECLINED"
            if (
                is_declined
                and spent_by(flight.operation, record, self.ledger) is SpentBy.THIS_BATCH
            ):
                self._redo(flight, source)
                return

    def _redo(self, flight: Flight, source: Held) -> None:
        operation = flight.operation
        source.stored, source.elsewhere, source.locked = False, False, True
        source.retired = operation.retired_to is not None
        for each, (owner, number) in zip(operation.targets, self._undone(flight), strict=True):
            self.books[number] = Held(
                number, owner, each.amount, source.id,
                stored=each.retired_to is None, retired=each.retired_to is not None, locked=True,
            )  # fmt: skip
        flight.end = ""
        self._complete(flight)

    def _undone(self, flight: Flight) -> list[tuple[int, int]]:
        return self.undone[flight.uid]

    def _complete(self, flight: Flight) -> None:
        """Only what the ledger has, to the last part."""
        operation, ledger = flight.operation, self.ledger
        for each in operation.targets:
            assert ledger.amounts[each.address] == each.amount
            assert ledger.origins[each.address] == operation.source
            if each.retired_to:
                assert ledger.settled[each.retired_to][each.address] == each.amount
        if operation.retired_to:
            assert ledger.settled[operation.retired_to][operation.source] == operation.amount
        else:
            assert ledger.following[operation.source].address_set == flight.targets.keys()
        flight.end = "COMPLETED"
        for ggo in self.books.values():
            if ggo.id == flight.source or ggo.address in flight.targets:
                ggo.locked = False

    def _decline(self, flight: Flight, *, elsewhere: bool) -> None:
        assert flight.uid not in self.ledger.committed
        held_up = any(each.uid == flight.uid for each in self.on_their_way)
        assert not held_up or flight.last_post_s <= self.clock_s - POST_HELD_UP_S
        flight.end = "DECLINED"
        gone = [ggo for ggo in self.books.values() if ggo.address in flight.targets]
        self.undone[flight.uid] = [(ggo.owner, ggo.id) for ggo in gone]
        self.books = {
            ggo.id: ggo for ggo in self.books.values() if ggo.address not in flight.targets
        }
        source = self.books[flight.source]
        source.stored, source.retired, source.locked = not elsewhere, False, elsewhere
        source.elsewhere = elsewhere

    @invariant()
    def energy_is_conserved(self) -> None:
        held = sum(
            each.amount
            for each in self.books.values()
            if each.stored or each.retired or each.elsewhere
        )
        assert held == self.issued

    @invariant()
    def nothing_is_retired_beyond_what_was_measured(self) -> None:
        retired: Counter[int] = Counter()
        for each in self.books.values():
            retired[each.owner] += each.amount * each.retired
        assert all(amount <= MEASURED_WH for amount in retired.values())

    @invariant()
    def one_flight_at_a_time(self) -> None:
        live = Counter(flight.source for flight in self.flights if not flight.end)
        assert all(count == 1 for count in live.values())
        locked = {each.id for each in self.books.values() if each.locked and each.id in live}
        assert locked == set(live)

    def teardown(self) -> None:
        """The ledger behaves from now on: everything ends, and books and ledger agree."""
        self.what_was_held_up_arrives()
        for _ in range(3):
            self.clock_s += 2 * POST_HELD_UP_S
            for flight in self.flights:
                if not flight.posts and not flight.end:
                    self._post(flight, "taken")
                self._follow(flight)
            self.block(refuse=False)
        self.clock_s += 2 * POST_HELD_UP_S
        for flight in self.flights:
            self._follow(flight)
        assert all(flight.end for flight in self.flights)
        for source_id in list(self.books):
            self._redo_standing(source_id)
        if self.lost_something:
            return
        ours = {ggo.address for ggo in self.books.values()}
        for ggo in self.books.values():
            assert ggo.locked == ggo.elsewhere
            assert self.ledger.amounts[ggo.address] == ggo.amount
            following = self.ledger.following.get(ggo.address)
            if following is not None and any("strange" in each for each in following.addresses):
                # Someone else spent it; where no batch of ours came upon that, it is stored still.
                assert ggo.elsewhere or ggo.stored
                continue
            assert not ggo.elsewhere
            assert (following is None) == ggo.stored
            assert ggo.retired == (following is not None and following.action == "RETIRE")
        there = {each for each in self.ledger.amounts if "strange" not in each}
        assert there == ours


Trading.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, derandomize=True
)
TestTrading = Trading.TestCase
