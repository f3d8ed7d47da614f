"""The rule of an operation's status, against a plain one."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from origin.operations.queries.operations import STATUS
from tests.support.market import Market
from tests.support.operations import found, order, transfers

STATES = ("PENDING", "SUBMITTED", "COMPLETED", "DECLINED")


def expected(states: list[str] | None, *, is_ended: bool, is_refused: bool) -> str:
    """Return the status by the contract's words.

    :param states: Of the batches; None: not planned.
    """
    if states is None:
        if not is_ended:
            return "queued"
        return "refused" if is_refused else "cancelled"
    if {"PENDING", "SUBMITTED"} & set(states):
        return "pending"
    if set(states) == {"COMPLETED"}:
        return "completed"
    if set(states) == {"DECLINED"}:
        return "declined"
    return "partially_completed"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    states=st.none() | st.lists(st.sampled_from(STATES), min_size=1, max_size=6),
    is_ended=st.booleans(),
    is_refused=st.booleans(),
)
def test_the_status_is_what_the_contract_says(market: Market, states, is_ended, is_refused):
    is_ended = is_ended and states is None
    ended = [state for state in states or () if state in {"COMPLETED", "DECLINED"}]
    # Columns as the query has them; nothing is written.
    facts = {
        "accepted_at": None if states is None else "2026-01-01",
        "ended_at": "2026-01-01" if is_ended else None,
        "refusal": '{"code": "x"}' if is_ended and is_refused else None,
        "batches": len(states or ()),
        "ended_batches": len(ended),
        "declined_batches": ended.count("DECLINED"),
    }
    columns = (
        "SELECT CAST(:accepted_at AS timestamptz) AS accepted_at, "
        "CAST(:ended_at AS timestamptz) AS ended_at, CAST(:refusal AS jsonb) AS refusal, "
        "CAST(:batches AS int) AS batches, CAST(:ended_batches AS int) AS ended_batches, "
        "CAST(:declined_batches AS int) AS declined_batches"
    )
    query = text(f"SELECT {STATUS} FROM ({columns}) AS facts")  # noqa: S608
    with market.runtime.database.reading() as session:
        found_status = session.execute(query, facts)
        assert found_status.scalar_one() == expected(
            states, is_ended=is_ended, is_refused=is_refused
        )


@pytest.mark.parametrize("states", [STATES[:1] * 2, STATES, STATES[2:], ("SUBMITTED", "DECLINED")])
def test_waiting_ends_exactly_when_the_status_is_final(market: Market, states: tuple[str, ...]):
    from origin.operations.queries.operations import final_ones

    batches = transfers(market, range(1, len(states) + 1))
    operation_id = order(market, "k", batches=batches)
    queued = order(market, "queued")
    for batch_id, state in zip(batches, states, strict=True):
        is_ended = state in {"COMPLETED", "DECLINED"}
        market.rows(
            "UPDATE batches SET state = :state, ended_at = CASE WHEN :ended THEN now() END, "
            "next_attempt_at = CASE WHEN NOT :ended THEN now() END WHERE id = :id",
            state=state,
            ended=is_ended,
            id=batch_id,
        )
    status = found(market, f"/v2/operations/{operation_id}")["status"]
    assert status == expected(list(states), is_ended=False, is_refused=False)
    final = final_ones(market.runtime.database, [operation_id, queued])
    assert final == ([] if status == "pending" else [operation_id])
