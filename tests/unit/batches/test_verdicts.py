"""A batch is declined only on a refusal that the ledger's state confirms."""

import itertools

import pytest

from origin.batches.rules.verdicts import BatchStatus, SpentBy, Verdict, judge, needs_state

EVERYTHING = list(itertools.product(BatchStatus, SpentBy, [False, True], [False, True]))


@pytest.mark.parametrize(("status", "source", "refused", "none_on_its_way"), EVERYTHING)
def test_declined_only_when_refused_and_unspent_and_nothing_is_on_its_way(
    status: BatchStatus, source: SpentBy, refused: bool, none_on_its_way: bool
):
    verdict = judge(status, source, refused=refused, none_on_its_way=none_on_its_way)
    refusal = status is BatchStatus.INVALID or (refused and status is BatchStatus.UNKNOWN)
    declined = refusal and source is SpentBy.NOBODY and none_on_its_way
    assert (verdict is Verdict.DECLINE) == declined


@pytest.mark.parametrize(("status", "source", "refused", "none_on_its_way"), EVERYTHING)
def test_the_source_is_blocked_only_if_another_operation_spent_it(
    status: BatchStatus, source: SpentBy, refused: bool, none_on_its_way: bool
):
    """This holds for each status of the batch but COMMITTED."""
    verdict = judge(status, source, refused=refused, none_on_its_way=none_on_its_way)
    can_not_be = status is not BatchStatus.COMMITTED and source is SpentBy.ANOTHER_OPERATION
    assert (verdict is Verdict.DECLINE_SPENT) == (can_not_be and none_on_its_way)
    if can_not_be and not none_on_its_way:
        assert verdict is Verdict.WAIT


@pytest.mark.parametrize(("status", "source", "refused", "none_on_its_way"), EVERYTHING)
def test_a_batch_is_completed_only_by_the_ledgers_status_or_state(
    status: BatchStatus, source: SpentBy, refused: bool, none_on_its_way: bool
):
    """The state shows that a batch was committed after all."""
    verdict = judge(status, source, refused=refused, none_on_its_way=none_on_its_way)
    has_it = status is BatchStatus.COMMITTED or source is SpentBy.THIS_BATCH
    assert (verdict is Verdict.COMPLETE) == has_it


def test_an_unknown_batch_is_posted_again():
    for none_on_its_way in (False, True):
        found = judge(
            BatchStatus.UNKNOWN, SpentBy.NOBODY, refused=False, none_on_its_way=none_on_its_way
        )
        assert found is Verdict.POST


@pytest.mark.parametrize("status", [BatchStatus.INVALID, BatchStatus.UNKNOWN, BatchStatus.PENDING])
def test_a_state_that_contradicts_itself_alerts_the_operators(status: BatchStatus):
    found = judge(status, SpentBy.CONTRADICTION, refused=True, none_on_its_way=True)
    assert found is Verdict.ALERT


def test_the_state_is_needed_only_if_the_status_does_not_decide():
    def needing(is_stuck: bool) -> set[BatchStatus]:
        return {status for status in BatchStatus if needs_state(status, is_stuck=is_stuck)}

    unclear = {BatchStatus.INVALID, BatchStatus.UNKNOWN}
    assert needing(is_stuck=False) == unclear
    assert needing(is_stuck=True) == {*unclear, BatchStatus.PENDING}
    assert not needs_state(None, is_stuck=True)
    for refused in (False, True):
        committed = judge(BatchStatus.COMMITTED, None, refused=refused, none_on_its_way=False)
        pending = judge(BatchStatus.PENDING, None, refused=refused, none_on_its_way=True)
        assert (committed, pending) == (Verdict.COMPLETE, Verdict.WAIT)


def test_a_stuck_pending_batch_with_an_unspent_source_waits():
    found = judge(BatchStatus.PENDING, SpentBy.NOBODY, refused=True, none_on_its_way=True)
    assert found is Verdict.WAIT
