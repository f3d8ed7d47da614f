"""What the ledger's word means: a batch is declined only on a refusal that its state confirms."""

import itertools

import pytest

from origin.domain.settlement import (
    BatchStatus,
    Next,
    Spent,
    Verdict,
    judge,
    needs_state,
    spent,
)

A, B, S = "849c0ba", "849c0bb", "ba4817s"


@pytest.mark.parametrize(
    ("following", "targets", "settlement", "expected"),
    [
        (None, [A, B], None, Spent.NOT),
        (Next("SPLIT", frozenset([B, A])), [A, B], None, Spent.BY_THIS_BATCH),
        (Next("SPLIT", frozenset([A])), [A, B], None, Spent.OTHERWISE),
        (Next("TRANSFER", frozenset([A, B])), [A, B], None, Spent.OTHERWISE),
        (None, [], S, Spent.NOT),
        (Next("RETIRE", frozenset([S])), [], S, Spent.BY_THIS_BATCH),
        (Next("RETIRE", frozenset([A])), [], S, Spent.OTHERWISE),
        (Next("SPLIT", frozenset([S])), [], S, Spent.OTHERWISE),
    ],
)
def test_who_spent_the_source(
    following: Next | None, targets: list[str], settlement: str | None, expected: Spent
):
    assert spent(following, targets, settlement) is expected


@pytest.mark.parametrize(
    ("status", "source", "refused"),
    list(itertools.product(BatchStatus, Spent, [False, True])),
)
def test_declined_only_when_refused_and_unspent(status: BatchStatus, source: Spent, refused: bool):
    verdict = judge(status, source, refused=refused)
    refusal = status is BatchStatus.INVALID or (refused and status is BatchStatus.UNKNOWN)
    assert (verdict is Verdict.DECLINE) == (refusal and source is Spent.NOT)


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("status", [BatchStatus.INVALID, BatchStatus.UNKNOWN])
def test_what_had_been_committed_after_all_is_completed(status: BatchStatus, refused: bool):
    assert judge(status, Spent.BY_THIS_BATCH, refused=refused) is Verdict.COMPLETE


def test_unknown_is_answered_by_the_same_bytes():
    assert judge(BatchStatus.UNKNOWN, Spent.NOT, refused=False) is Verdict.POST


@pytest.mark.parametrize("status", [BatchStatus.INVALID, BatchStatus.UNKNOWN])
def test_a_source_that_was_spent_otherwise_is_for_the_operators(status: BatchStatus):
    assert judge(status, Spent.OTHERWISE, refused=False) is Verdict.ALERT


def test_state_is_asked_only_where_the_status_does_not_decide():
    needing = {status for status in BatchStatus if needs_state(status)}
    assert needing == {BatchStatus.INVALID, BatchStatus.UNKNOWN}
    assert not needs_state(None)
    assert judge(BatchStatus.COMMITTED, None, refused=False) is Verdict.COMPLETE
    assert judge(BatchStatus.PENDING, None, refused=True) is Verdict.WAIT
