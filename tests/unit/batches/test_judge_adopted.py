"""Adopted batches end only by what the ledger shows, whatever the original service had done."""

import itertools
from copy import deepcopy
from dataclasses import dataclass, field

import pytest

from origin.batches.rules.verdicts import (
    BatchStatus,
    SpentBy,
    Verdict,
    judge,
    judge_adopted,
    may_be_executed,
    needs_state,
)

EVERYTHING = list(itertools.product(BatchStatus, SpentBy, [False, True], [False, True]))


@pytest.mark.parametrize(("status", "source", "is_on_ledger", "is_stuck"), EVERYTHING)
def test_the_state_decides_before_the_status(
    status: BatchStatus, source: SpentBy, is_on_ledger: bool, is_stuck: bool
):
    verdict = judge_adopted(status, source, is_on_ledger=is_on_ledger, is_stuck=is_stuck)
    assert (verdict is Verdict.COMPLETE) == (source is SpentBy.THIS_BATCH)
    assert (verdict is Verdict.DECLINE_SPENT) == (source is SpentBy.ANOTHER_OPERATION)
    refused = status is BatchStatus.INVALID and source is SpentBy.NOBODY
    assert (verdict is Verdict.DECLINE) == refused


@pytest.mark.parametrize(("status", "source", "is_on_ledger", "is_stuck"), EVERYTHING)
def test_a_batch_is_signed_anew_only_if_its_source_is_there_and_unspent(
    status: BatchStatus, source: SpentBy, is_on_ledger: bool, is_stuck: bool
):
    verdict = judge_adopted(status, source, is_on_ledger=is_on_ledger, is_stuck=is_stuck)
    given_up = status is BatchStatus.UNKNOWN or (status is BatchStatus.PENDING and is_stuck)
    assert (verdict is Verdict.SIGN) == (source is SpentBy.NOBODY and is_on_ledger and given_up)
    absent = source is SpentBy.NOBODY and not is_on_ledger and status is not BatchStatus.INVALID
    assert (verdict is Verdict.REPORT_ABSENT) == absent


@pytest.mark.parametrize("is_on_ledger", [False, True])
@pytest.mark.parametrize(("status", "source"), [*itertools.product(BatchStatus, SpentBy)])
def test_time_alone_declines_nothing(status: BatchStatus, source: SpentBy, is_on_ledger: bool):
    early, late = (
        judge_adopted(status, source, is_on_ledger=is_on_ledger, is_stuck=is_stuck)
        for is_stuck in (False, True)
    )
    declined = {Verdict.DECLINE, Verdict.DECLINE_SPENT}
    assert (early in declined) == (late in declined)


@dataclass
class Ledger:
    """One source, and the batches that want to spend it: each is executed once, or refused."""

    spent_by: str | None = None
    statuses: dict[str, BatchStatus] = field(default_factory=dict)

    def status(self, name: str) -> BatchStatus:
        return self.statuses.get(name, BatchStatus.UNKNOWN)

    def post(self, name: str) -> None:
        if self.status(name) is BatchStatus.UNKNOWN:
            self.statuses[name] = BatchStatus.PENDING

    def execute(self, name: str, *, refuse: bool) -> None:
        if self.status(name) is not BatchStatus.PENDING:
            return
        fits = self.spent_by is None and not refuse
        self.statuses[name] = BatchStatus.COMMITTED if fits else BatchStatus.INVALID
        if fits:
            self.spent_by = name

    def forget(self) -> None:
        """Forget as a restart does: also what waits to be executed."""
        self.statuses = {
            name: each for name, each in self.statuses.items() if each is BatchStatus.COMMITTED
        }


@dataclass
class Service:
    """Looks at its one adopted batch again and again, as the runner does.

    `may_arrive`: a POST of the original may still arrive.
    """

    ledger: Ledger
    knows_original: bool
    may_arrive: bool = True
    is_stuck: bool = False
    signed: bool = False
    ended: str | None = None

    def spender(self) -> SpentBy:
        if self.ledger.spent_by is None:
            return SpentBy.NOBODY
        ours = self.ledger.spent_by in {"original", "anew"}
        return SpentBy.THIS_BATCH if ours else SpentBy.ANOTHER_OPERATION

    def original_status(self) -> BatchStatus:
        return self.ledger.status("original") if self.knows_original else BatchStatus.UNKNOWN

    def look(self) -> None:
        if self.ended is not None:
            return
        verdict = self._verdict_on_signed() if self.signed else self._verdict_on_unsigned()
        if verdict in {Verdict.SIGN, Verdict.POST}:
            self.signed = True
            self.ledger.post("anew")
        self.ended = {
            Verdict.COMPLETE: "COMPLETED",
            Verdict.DECLINE: "DECLINED",
            Verdict.DECLINE_SPENT: "BLOCKED",
        }.get(verdict)

    def _verdict_on_unsigned(self) -> Verdict:
        return judge_adopted(
            self.original_status(), self.spender(), is_on_ledger=True, is_stuck=self.is_stuck
        )

    def _verdict_on_signed(self) -> Verdict:
        status = self.ledger.status("anew")
        source = self.spender() if needs_state(status, is_stuck=self.is_stuck) else None
        none_on_its_way = not self.may_arrive
        verdict = judge(status, source, refused=False, none_on_its_way=none_on_its_way)
        if verdict is Verdict.DECLINE and may_be_executed(self.original_status()):
            return Verdict.WAIT
        return verdict


_STEPS = [
    "look",
    "the original arrives",
    "execute original",
    "execute anew",
    "refuse original",
    "refuse anew",
    "forget",
    "a stranger spends it",
    "nothing arrives any more",
    "stuck",
]


@pytest.mark.parametrize("knows_original", [True, False])
def test_from_every_state_the_end_is_what_the_ledger_has(knows_original: bool):
    """All orders of events: the original's batch may be executed before or after we sign anew."""
    beginning = Service(Ledger(), knows_original)
    if knows_original:
        # The original has an id only if the ledger answered its POST.
        beginning.ledger.post("original")
    reached, to_visit = {repr(beginning)}, [beginning]
    ends = set()
    while to_visit:
        service = to_visit.pop()
        ends.add(_end_of(deepcopy(service)))
        for step in _STEPS:
            after = deepcopy(service)
            _take(step, after.ledger, after)
            if repr(after) not in reached:
                reached.add(repr(after))
                to_visit.append(after)
    assert ends == set(_ENDS.items())
    assert len(reached) > 100


_ENDS = {
    SpentBy.THIS_BATCH: "COMPLETED",
    SpentBy.ANOTHER_OPERATION: "BLOCKED",
    SpentBy.NOBODY: "DECLINED",
}


def _end_of(service: Service) -> tuple[SpentBy, str | None]:
    """Let everything come to its end; return who spent the source, and the batch's end."""
    for step in (
        "nothing arrives any more",
        "stuck",
        *["execute original", "execute anew", "look"] * 4,
    ):
        _take(step, service.ledger, service)
    return service.spender(), service.ended


def _take(step: str, ledger: Ledger, service: Service) -> None:
    match step.split():
        case ["look"]:
            service.look()
        case ["the", "original", "arrives"] if service.may_arrive and not service.knows_original:
            ledger.post("original")
        case ["execute" | "refuse", name]:
            ledger.execute(name, refuse=step.startswith("refuse"))
        case ["forget"]:
            ledger.forget()
        case ["a", "stranger", *_] if ledger.spent_by is None and service.ended is None:
            ledger.spent_by = "stranger"
        case ["nothing", *_]:
            service.may_arrive = False
            if not service.knows_original:
                # Without its id nobody can ask for it: it has been executed by then.
                ledger.execute("original", refuse=False)
        case ["stuck"]:
            service.is_stuck = True
