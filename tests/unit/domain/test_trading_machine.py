"""The domain in memory, for thousands of steps: compose, commit, roll back, replay, crash between.

The rules are the service's own (`origin.domain`); books and ledger are dictionaries here. Whatever
is done in whatever order, and whatever is lost on the way: what became of a GGO sums to what was
issued, nothing is spent twice, and books and ledger agree once all is quiet.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from origin.domain.compose import (
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
from origin.domain.settlement import BatchStatus, Next, Verdict, judge, needs_state, spent
from origin.errors import Refused

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
END = BEGIN + timedelta(hours=1)
EXPIRES = BEGIN + timedelta(days=1)
USERS = {"anna": Recipient(1, disabled=False), "bo": Recipient(2, disabled=False)}
MEASURED_WH = 150
METERS = {1: "meter-1", 2: "meter-2"}


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

    @property
    def address(self) -> str:
        return f"ggo-{self.id}"


@dataclass
class Flight:
    """A batch: what it would do on the ledger, and what is known of its POSTs."""

    source: int
    targets: dict[str, int]
    retires: dict[str, str]
    whole: str | None
    posts: int = 0
    refused: int = 0
    end: str = ""


@dataclass
class Ledger:
    """State, and a memory of batches that comes and goes."""

    amounts: dict[str, int] = field(default_factory=dict)
    following: dict[str, Next] = field(default_factory=dict)
    settled: Counter[str] = field(default_factory=Counter)
    queue: list[int] = field(default_factory=list)
    memory: dict[int, BatchStatus] = field(default_factory=dict)
    committed: set[int] = field(default_factory=set)


class Trading(RuleBasedStateMachine):
    """Two users, one hour, and a ledger that may do anything but break its own rules."""

    composed = Bundle("composed")

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
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
        self.issued += amount

    @rule(owner=st.sampled_from([1, 2]), amount=st.integers(1, 50))
    def issue(self, owner: int, amount: int) -> None:
        if len(self.books) < 60:
            self._issue(owner, amount)

    @rule()
    def time_passes(self) -> None:
        self.now += timedelta(hours=2)

    @rule(
        target=composed,
        pick=st.integers(0, 1000),
        transfers=st.lists(st.integers(1, 60), max_size=2),
        retires=st.lists(st.integers(1, 60), max_size=2),
        to=st.sampled_from(sorted(USERS)),
        whole=st.booleans(),
    )
    def compose(
        self, pick: int, transfers: list[int], retires: list[int], to: str, whole: bool
    ) -> int | None:
        ggo = sorted(self.books.values(), key=lambda each: each.id)[pick % len(self.books)]
        gsrn = METERS[ggo.owner]
        if whole:
            transfers, retires = [], [ggo.amount]
        order = Order(
            ggo.address,
            [Transfer(amount, to) for amount in transfers],
            [Retire(amount, gsrn) for amount in retires],
        )
        try:
            parts = self._parts(order, ggo, gsrn)
        except Refused:
            return None
        return self._write(ggo, parts)

    def _parts(self, order: Order, ggo: Held, gsrn: str) -> list[Part]:
        source = Source(
            ggo.id, ggo.owner, ggo.address, ggo.amount, BEGIN, END, "DK1", EXPIRES,
            stored=ggo.stored, retired=ggo.retired, locked=ggo.locked, key_mismatch=False,
        )  # fmt: skip
        measurement = Measurement(
            f"measured-{gsrn}", gsrn, BEGIN, END, "DK1", MEASURED_WH,
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

    def _write(self, ggo: Held, parts: list[Part]) -> int:
        ggo.stored, ggo.locked = False, True
        if is_whole_retire(parts):
            ggo.retired = True
            self.flights.append(Flight(ggo.id, {}, {}, METERS[ggo.owner]))
            return len(self.flights) - 1
        flight = Flight(ggo.id, {}, {}, None)
        for part in parts:
            retired = part.kind is PartKind.RETIRE
            child = self._add(
                part.owner_id, part.amount, parent=ggo.id,
                stored=not retired, retired=retired, locked=True,
            )  # fmt: skip
            flight.targets[child.address] = child.amount
            if retired:
                flight.retires[child.address] = METERS[part.owner_id]
        self.flights.append(flight)
        return len(self.flights) - 1

    @rule(number=composed, how=st.sampled_from(["taken", "lost", "refused", "answer lost"]))
    def post(self, number: int | None, how: str) -> None:
        """A POST is counted before it is sent; the worker may die before it knows the answer."""
        if number is None or self.flights[number].end:
            return
        self.flights[number].posts += 1
        if how == "refused":
            self.flights[number].refused += 1
        elif how != "lost":
            known = self.ledger.memory.get(number)
            if known is None and number not in self.ledger.committed:
                self.ledger.memory[number] = BatchStatus.PENDING
                self.ledger.queue.append(number)

    @rule(refuse=st.booleans())
    def block(self, refuse: bool) -> None:
        """The ledger executes what waits; it may find anything invalid, for reasons of its own."""
        for number in self.ledger.queue:
            ok = not refuse and self._execute(self.flights[number])
            self.ledger.memory[number] = BatchStatus.COMMITTED if ok else BatchStatus.INVALID
            if ok:
                self.ledger.committed.add(number)
        self.ledger.queue = []

    def _execute(self, flight: Flight) -> bool:
        ledger, source = self.ledger, f"ggo-{flight.source}"
        if source in ledger.following or any(each in ledger.amounts for each in flight.targets):
            return False
        settled = ledger.settled.copy()
        if flight.whole:
            settled[flight.whole] += ledger.amounts[source]
        for address, meter in flight.retires.items():
            settled[meter] += flight.targets[address]
        if any(amount > MEASURED_WH for amount in settled.values()):
            return False
        assert flight.whole or sum(flight.targets.values()) == ledger.amounts[source]
        ledger.settled = settled
        ledger.amounts |= flight.targets
        action = "RETIRE" if flight.whole else "SPLIT"
        ledger.following[source] = Next(action, frozenset(flight.targets or [flight.whole or ""]))
        for address, meter in flight.retires.items():
            ledger.following[address] = Next("RETIRE", frozenset([meter]))
        return True

    @rule(lose_committed=st.booleans())
    def ledger_restarts(self, lose_committed: bool) -> None:
        """It forgets what waited and what was invalid, and perhaps what it committed."""
        self.ledger.queue = []
        self.ledger.memory = {
            number: status
            for number, status in self.ledger.memory.items()
            if status is BatchStatus.COMMITTED and not lose_committed
        }

    @rule(number=composed, crash=st.booleans())
    def follow(self, number: int | None, crash: bool) -> None:
        """Ask, judge, and act; a crash in between means that all of it is done again later."""
        if number is None:
            return
        flight = self.flights[number]
        if flight.end or not flight.posts:
            return
        status = self.ledger.memory.get(number, BatchStatus.UNKNOWN)
        source = None
        if needs_state(status):
            following = self.ledger.following.get(f"ggo-{flight.source}")
            source = spent(following, list(flight.targets), flight.whole)
        verdict = judge(status, source, refused=flight.posts == flight.refused)
        if crash:
            return
        assert verdict is not Verdict.ALERT
        if verdict is Verdict.COMPLETE:
            self._complete(number)
        elif verdict is Verdict.DECLINE:
            self._decline(number)
        elif verdict is Verdict.POST:
            self.post(number, "taken")

    def _complete(self, number: int) -> None:
        flight = self.flights[number]
        assert number in self.ledger.committed
        flight.end = "COMPLETED"
        for ggo in self.books.values():
            if ggo.id == flight.source or ggo.address in flight.targets:
                ggo.locked = False

    def _decline(self, number: int) -> None:
        flight = self.flights[number]
        assert number not in self.ledger.committed
        assert number not in self.ledger.queue
        flight.end = "DECLINED"
        self.books = {
            ggo.id: ggo for ggo in self.books.values() if ggo.address not in flight.targets
        }
        source = self.books[flight.source]
        source.stored, source.retired, source.locked = True, False, False

    @invariant()
    def energy_is_conserved(self) -> None:
        held = sum(each.amount for each in self.books.values() if each.stored or each.retired)
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
        for _ in range(3):
            for number in range(len(self.flights)):
                if not self.flights[number].posts:
                    self.post(number, "taken")
                self.follow(number, crash=False)
            self.block(refuse=False)
        for number in range(len(self.flights)):
            self.follow(number, crash=False)
        assert all(flight.end for flight in self.flights)
        for ggo in self.books.values():
            assert not ggo.locked
            assert self.ledger.amounts[ggo.address] == ggo.amount
            following = self.ledger.following.get(ggo.address)
            assert (following is None) == ggo.stored
            assert ggo.retired == (following is not None and following.action == "RETIRE")
        assert self.ledger.amounts.keys() == {ggo.address for ggo in self.books.values()}


Trading.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, derandomize=True
)
TestTrading = Trading.TestCase
