"""A model of the domain in memory, for thousands of steps: compose, commit, roll back, redo, crash.

The rules are the service's own (`origin.*.rules`); accounts and ledger are dictionaries here. In any
order of steps and with any loss: what became of a GGO sums to what was issued, nothing is spent twice,
and accounts and ledger agree once no batch is under way. This holds also if somebody else has a key,
if POSTs arrive after their batch was declined, and if the accounts are restored from a backup: a batch
that the ledger has not committed is never completed.
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
from origin.batches.rules.standing import Spending, Target, spent_by
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
"""The addresses of the owners' measurements."""


@dataclass
class AccountGgo:
    """A GGO in the accounts."""

    id: int
    owner: int
    amount: int
    parent: int | None = None
    stored: bool = True
    retired: bool = False
    locked: bool = False
    spent_elsewhere: bool = False

    @property
    def address(self) -> str:
        return f"ggo-{self.id}"


@dataclass
class ModelBatch:
    """A batch: its spending on the ledger, and the counts of its POSTs. `end`: its final state."""

    uid: int
    source: int
    spending: Spending
    posts: int = 0
    refused: int = 0
    answered: int = 0
    last_post_s: float = 0
    end: str = ""

    @property
    def targets(self) -> dict[str, int]:
        return {each.address: each.amount for each in self.spending.targets}


@dataclass
class ModelLedger:
    """The ledger's state, and the statuses of batches by uid, which it may forget."""

    amounts: dict[str, int] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    next_by_address: dict[str, LedgerNext] = field(default_factory=dict)
    settled: dict[str, dict[str, int]] = field(default_factory=dict)
    queue: list[ModelBatch] = field(default_factory=list)
    statuses: dict[int, BatchStatus] = field(default_factory=dict)
    committed: set[int] = field(default_factory=set)

    def read_ggo(self, address: str) -> LedgerGgo | None:
        if address not in self.amounts:
            return None
        origin, next_by_address = self.origins[address], self.next_by_address.get(address)
        amount = self.amounts[address]
        return LedgerGgo(address, origin, amount, BEGIN, END, "DK1", "T", "F", next_by_address)

    def read_settlement(self, address: str) -> LedgerSettlement | None:
        for measurement, parts in self.settled.items():
            if settlement_address(measurement) == address:
                return LedgerSettlement(measurement, dict(parts))
        return None

    def accept(self, batch: ModelBatch) -> None:
        """Queue a batch that arrives. It is executed once; an INVALID one again after it was forgotten."""
        if batch.uid not in self.statuses and batch.uid not in self.committed:
            self.statuses[batch.uid] = BatchStatus.PENDING
            self.queue.append(batch)

    def execute(self, spending: Spending) -> bool:
        """Execute a spending, all or nothing, if the domain's rules allow it."""
        targets = {each.address: each for each in spending.targets}
        if spending.source in self.next_by_address or targets.keys() & self.amounts.keys():
            return False
        settled = copy.deepcopy(self.settled)
        whole = Target(spending.source, self.amounts[spending.source], spending.retired_to)
        retired = [each for each in (whole, *targets.values()) if each.retired_to]
        for each in retired:
            settled.setdefault(str(each.retired_to), {})[each.address] = each.amount
        if any(sum(parts.values()) > MEASURED_WH for parts in settled.values()):
            return False
        if targets:
            total = sum(each.amount for each in targets.values())
            assert total == self.amounts[spending.source]
            self.next_by_address[spending.source] = LedgerNext("SPLIT", tuple(targets))
        self.settled = settled
        for each in targets.values():
            self.amounts[each.address] = each.amount
            self.origins[each.address] = spending.source
        for each in retired:
            at = settlement_address(str(each.retired_to))
            self.next_by_address[each.address] = LedgerNext("RETIRE", (at,))
        return True


ModelOrder = tuple[list[int], list[int], str, bool]
amounts = st.lists(st.one_of(st.sampled_from([30, 50]), st.integers(1, 60)), max_size=2)
"""A few amounts are frequent, so that a lost compose and its successor look alike."""
model_orders = st.tuples(amounts, amounts, st.sampled_from(sorted(USERS)), st.booleans())
"""Amounts to transfer, amounts to retire, the recipient; and whether to retire the whole instead."""


class Trading(RuleBasedStateMachine):
    """Two users, one hour, and a ledger that may do anything except break its own rules."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.clock_s = 0.0
        self.uids = itertools.count()
        self.posts_in_flight: list[ModelBatch] = []
        self.rolled_back: dict[int, list[tuple[int, int]]] = {}
        self.lost_something = False
        self.accounts: dict[int, AccountGgo] = {}
        self.batches: list[ModelBatch] = []
        self.ledger = ModelLedger()
        self.issued = 0
        for owner in (1, 2):
            self._issue(owner, 100)

    def _add(self, owner: int, amount: int, **how: object) -> AccountGgo:
        ggo = AccountGgo(len(self.accounts) + 1000 * len(self.batches), owner, amount)
        while ggo.id in self.accounts:
            ggo.id += 1
        self.accounts[ggo.id] = replace(ggo, **how)
        return self.accounts[ggo.id]

    def _issue(self, owner: int, amount: int) -> None:
        ggo = self._add(owner, amount)
        self.ledger.amounts[ggo.address] = amount
        self.ledger.origins[ggo.address] = "measured"
        self.issued += amount

    @rule(owner=st.sampled_from([1, 2]), amount=st.integers(1, 50))
    def issue(self, owner: int, amount: int) -> None:
        if len(self.accounts) < 60:
            self._issue(owner, amount)

    @rule()
    def time_passes(self) -> None:
        self.now += timedelta(hours=2)

    @rule(seconds=st.sampled_from([1.0, 60.0, POST_HELD_UP_S]))
    def the_clock_goes_on(self, seconds: float) -> None:
        self.clock_s += seconds

    @rule(pick=st.integers(0, 1000), wanted=model_orders)
    def compose(self, pick: int, wanted: ModelOrder) -> None:
        ggo = sorted(self.accounts.values(), key=lambda each: each.id)[pick % len(self.accounts)]
        gsrn = METERS[ggo.owner]
        transfers, retires, to, whole = wanted
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

    @rule(pick=st.integers(0, 1000), lost=model_orders, again=model_orders)
    def a_restore_loses_a_compose(self, pick: int, lost: ModelOrder, again: ModelOrder) -> None:
        """The ledger has the compose; the same GGO is composed anew, to the same addresses."""
        backup = copy.deepcopy((self.accounts, self.batches))
        self.compose(pick, lost)
        if len(self.batches) == len(backup[1]):
            return
        self._post(self.batches[-1], "taken")
        self.block(refuse=False)
        self.accounts, self.batches = backup
        self.lost_something = True
        self.compose(pick, again)

    @rule(pick=st.integers(0, 1000))
    def refused_while_a_post_is_held_up(self, pick: int) -> None:
        batch = self._picked(pick)
        if batch is not None and not batch.end:
            self._post(batch, "held up")
            self._post(batch, "taken")
            self.block(refuse=True)
            self._follow(batch)

    def _parts(self, order: Order, ggo: AccountGgo, gsrn: str) -> list[Part]:
        source = Source(
            ggo.id, ggo.owner, ggo.address, ggo.amount, BEGIN, END, "DK1", EXPIRES,
            stored=ggo.stored, retired=ggo.retired, locked=ggo.locked, key_mismatch=False,
        )  # fmt: skip
        measurement = Measurement(
            MEASURED[ggo.owner], gsrn, BEGIN, END, "DK1", MEASURED_WH,
            is_consumption=True, has_derived_address=True,
        )  # fmt: skip
        points = {gsrn: ConsumptionPoint(1, gsrn)}
        check_order(order, source, USERS, points, self.now)
        checked = check_measurements(order, source, {gsrn: measurement})
        taken = sum(
            each.amount
            for each in self.accounts.values()
            if each.retired and each.owner == ggo.owner
        )
        check_headroom(order, checked, {measurement.address: taken})
        return parts_of(order, source, USERS, checked)

    def _write(self, ggo: AccountGgo, parts: list[Part]) -> None:
        ggo.stored, ggo.locked = False, True
        if is_whole_retire(parts):
            ggo.retired = True
            self._add_batch(ggo, MEASURED[ggo.owner], [])
            return
        targets = []
        for part in parts:
            retired = part.kind is PartKind.RETIRE
            child = self._add(
                part.owner_id, part.amount, parent=ggo.id,
                stored=not retired, retired=retired, locked=True,
            )  # fmt: skip
            targets.append(Target(child.address, child.amount, part.retire_address))
        self._add_batch(ggo, None, targets)

    def _add_batch(self, ggo: AccountGgo, retired_to: str | None, targets: list[Target]) -> None:
        spending = Spending(ggo.address, ggo.amount, retired_to, targets)
        self.batches.append(ModelBatch(next(self.uids), ggo.id, spending))

    def _picked(self, pick: int) -> ModelBatch | None:
        return self.batches[pick % len(self.batches)] if self.batches else None

    @rule(
        pick=st.integers(0, 1000),
        how=st.sampled_from(["taken", "lost", "refused", "answer lost", "held up"]),
    )
    def post(self, pick: int, how: str) -> None:
        """A POST is counted before it is sent; the worker may die before it has the response."""
        batch = self._picked(pick)
        if batch is not None and not batch.end:
            self._post(batch, how)

    def _post(self, batch: ModelBatch, how: str) -> None:
        batch.posts += 1
        batch.last_post_s = self.clock_s
        batch.refused += how == "refused"
        batch.answered += how in {"refused", "taken"}
        if how in {"taken", "answer lost"}:
            self.ledger.accept(batch)
        elif how == "held up":
            self.posts_in_flight.append(batch)

    @rule()
    def held_up_posts_arrive(self) -> None:
        """POSTs that were held up arrive, perhaps after their batch has ended."""
        while self.posts_in_flight:
            self.ledger.accept(self.posts_in_flight.pop())

    @rule(pick=st.integers(0, 1000))
    def someone_else_spends(self, pick: int) -> None:
        """Somebody else who has a key spends a GGO."""
        unspent = sorted(self.ledger.amounts.keys() - self.ledger.next_by_address.keys())
        address = unspent[pick % len(unspent)] if unspent else None
        if address in {each.address for each in self.accounts.values()} and pick % 5 == 0:
            stranger = Target(f"strange-{address}", self.ledger.amounts[str(address)])
            self.ledger.execute(Spending(str(address), stranger.amount, None, [stranger]))

    @rule(refuse=st.booleans())
    def block(self, refuse: bool) -> None:
        """The ledger executes its queue; it may refuse everything for reasons of its own."""
        for batch in self.ledger.queue:
            ok = not refuse and self.ledger.execute(batch.spending)
            self.ledger.statuses[batch.uid] = BatchStatus.COMMITTED if ok else BatchStatus.INVALID
            if ok:
                self.ledger.committed.add(batch.uid)
        self.ledger.queue = []

    @rule(lose_committed=st.booleans())
    def ledger_restarts(self, lose_committed: bool) -> None:
        """The ledger forgets its queue, INVALID statuses, and perhaps COMMITTED ones."""
        self.ledger.queue = []
        self.ledger.statuses = {
            uid: status
            for uid, status in self.ledger.statuses.items()
            if status is BatchStatus.COMMITTED and not lose_committed
        }

    @rule(pick=st.integers(0, 1000), crash=st.booleans(), is_stuck=st.booleans())
    def follow(self, pick: int, crash: bool, is_stuck: bool) -> None:
        """Ask, judge, and act; a crash in between means that all of it is done again later."""
        batch = self._picked(pick)
        if batch is not None and not crash:
            self._follow(batch, is_stuck=is_stuck)

    def _follow(self, batch: ModelBatch, *, is_stuck: bool = False) -> None:
        if batch.end or not batch.posts:
            return
        status = self.ledger.statuses.get(batch.uid, BatchStatus.UNKNOWN)
        source = None
        if needs_state(status, is_stuck=is_stuck):
            record = self.ledger.read_ggo(batch.spending.source)
            source = spent_by(batch.spending, record, self.ledger)
        held_up = batch.last_post_s > self.clock_s - POST_HELD_UP_S
        verdict = judge(
            status,
            source,
            refused=batch.posts == batch.refused,
            none_on_its_way=batch.posts == batch.answered or not held_up,
        )
        assert verdict is not Verdict.ALERT
        if verdict is Verdict.COMPLETE:
            self._complete(batch)
        elif verdict is Verdict.DECLINE:
            assert batch.spending.source not in self.ledger.next_by_address
            self._decline(batch, spent_elsewhere=False)
        elif verdict is Verdict.DECLINE_SPENT:
            assert batch.spending.source in self.ledger.next_by_address
            self._decline(batch, spent_elsewhere=True)
            self._redo_standing(batch.source)
        elif verdict is Verdict.POST:
            self._post(batch, "taken")

    def _redo_standing(self, source_id: int) -> None:
        """Redo a declined batch that the ledger has committed, as `origin.batches.service.redo` does."""
        source = self.accounts[source_id]
        if not (source.spent_elsewhere or (source.stored and not source.locked)):
            return
        record = self.ledger.read_ggo(source.address)
        for batch in reversed(self.batches):
            is_declined = batch.source == source_id and batch.end == "DECLINED"
            if is_declined and spent_by(batch.spending, record, self.ledger) is SpentBy.THIS_BATCH:
                self._redo(batch, source)
                return

    def _redo(self, batch: ModelBatch, source: AccountGgo) -> None:
        spending = batch.spending
        source.stored, source.spent_elsewhere, source.locked = False, False, True
        source.retired = spending.retired_to is not None
        for each, (owner, number) in zip(spending.targets, self._rolled_back(batch), strict=True):
            self.accounts[number] = AccountGgo(
                number, owner, each.amount, source.id,
                stored=each.retired_to is None, retired=each.retired_to is not None, locked=True,
            )  # fmt: skip
        batch.end = ""
        self._complete(batch)

    def _rolled_back(self, batch: ModelBatch) -> list[tuple[int, int]]:
        return self.rolled_back[batch.uid]

    def _complete(self, batch: ModelBatch) -> None:
        """Complete a batch; check that the ledger has each of its parts."""
        spending, ledger = batch.spending, self.ledger
        for each in spending.targets:
            assert ledger.amounts[each.address] == each.amount
            assert ledger.origins[each.address] == spending.source
            if each.retired_to:
                assert ledger.settled[each.retired_to][each.address] == each.amount
        if spending.retired_to:
            assert ledger.settled[spending.retired_to][spending.source] == spending.amount
        else:
            assert ledger.next_by_address[spending.source].address_set == batch.targets.keys()
        batch.end = "COMPLETED"
        for ggo in self.accounts.values():
            if ggo.id == batch.source or ggo.address in batch.targets:
                ggo.locked = False

    def _decline(self, batch: ModelBatch, *, spent_elsewhere: bool) -> None:
        assert batch.uid not in self.ledger.committed
        held_up = any(each.uid == batch.uid for each in self.posts_in_flight)
        assert not held_up or batch.last_post_s <= self.clock_s - POST_HELD_UP_S
        batch.end = "DECLINED"
        gone = [ggo for ggo in self.accounts.values() if ggo.address in batch.targets]
        self.rolled_back[batch.uid] = [(ggo.owner, ggo.id) for ggo in gone]
        self.accounts = {
            ggo.id: ggo for ggo in self.accounts.values() if ggo.address not in batch.targets
        }
        source = self.accounts[batch.source]
        source.stored, source.retired, source.locked = not spent_elsewhere, False, spent_elsewhere
        source.spent_elsewhere = spent_elsewhere

    @invariant()
    def energy_is_conserved(self) -> None:
        held = sum(
            each.amount
            for each in self.accounts.values()
            if each.stored or each.retired or each.spent_elsewhere
        )
        assert held == self.issued

    @invariant()
    def nothing_is_retired_beyond_what_was_measured(self) -> None:
        retired: Counter[int] = Counter()
        for each in self.accounts.values():
            retired[each.owner] += each.amount * each.retired
        assert all(amount <= MEASURED_WH for amount in retired.values())

    @invariant()
    def one_batch_at_a_time(self) -> None:
        live = Counter(batch.source for batch in self.batches if not batch.end)
        assert all(count == 1 for count in live.values())
        locked = {each.id for each in self.accounts.values() if each.locked and each.id in live}
        assert locked == set(live)

    def teardown(self) -> None:
        """Let the ledger behave from now on: every batch ends, and accounts and ledger agree."""
        self.held_up_posts_arrive()
        for _ in range(3):
            self.clock_s += 2 * POST_HELD_UP_S
            for batch in self.batches:
                if not batch.posts and not batch.end:
                    self._post(batch, "taken")
                self._follow(batch)
            self.block(refuse=False)
        self.clock_s += 2 * POST_HELD_UP_S
        for batch in self.batches:
            self._follow(batch)
        assert all(batch.end for batch in self.batches)
        for source_id in list(self.accounts):
            self._redo_standing(source_id)
        if self.lost_something:
            return
        ours = {ggo.address for ggo in self.accounts.values()}
        for ggo in self.accounts.values():
            assert ggo.locked == ggo.spent_elsewhere
            assert self.ledger.amounts[ggo.address] == ggo.amount
            next_ = self.ledger.next_by_address.get(ggo.address)
            if next_ is not None and any("strange" in each for each in next_.addresses):
                # Somebody else spent it; if no batch of ours noticed, it still counts as stored.
                assert ggo.spent_elsewhere or ggo.stored
                continue
            assert not ggo.spent_elsewhere
            assert (next_ is None) == ggo.stored
            assert ggo.retired == (next_ is not None and next_.action == "RETIRE")
        there = {each for each in self.ledger.amounts if "strange" not in each}
        assert there == ours


Trading.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, derandomize=True
)
TestTrading = Trading.TestCase
