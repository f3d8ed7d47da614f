"""GGOs that no webhook reported are fetched when their metering point becomes known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from origin.intake.rules.events import PAST_LAST_BEGIN
from origin.intake.service import job_queue, job_work
from tests.support.waiting import eventually
from tests.support.world import World, ggo_of

GSRN = "571313180400000012"
OTHER = "571313180400000029"
BEGIN = datetime(2020, 1, 1, 12, tzinfo=UTC)
CODES = {"technologyCode": "T010000", "fuelCode": "F01040100"}


def run_all(world: World) -> None:
    """Run all DataHub jobs, and the jobs that they enqueue."""
    world.make_jobs_due()
    while world.run_jobs():
        pass


def register(world: World, *gsrns: str, kind: str = "production") -> None:
    points = [
        {"sub": "alice", "gsrn": gsrn, "type": kind, "sector": "DK1", **CODES} for gsrn in gsrns
    ]
    world.datahub.control("meteringpoints", {"meteringpoints": points, "webhooks": "none"})


def issue(world: World, *begins: datetime, gsrn: str = GSRN) -> list[str]:
    """Issue GGOs that no webhook reports; return their addresses."""
    ggos = [{"gsrn": gsrn, "begin": begin.isoformat(), "amount": 10} for begin in begins]
    made = world.datahub.control("ggos", {"ggos": ggos, "webhooks": "none", "ledger": False})
    return [str(ggo["address"]) for ggo in made["ggos"]]


@pytest.fixture
def producing(world: World) -> World:
    """Alice: DataHub has the key of her production point, but subscribing fails."""
    world.datahub.fault(endpoint="/webhook/on-ggo-issued/subscribe", times=None, status=503)
    register(world, GSRN)
    world.new_user("alice")
    run_all(world)
    assert world.rows("SELECT kind FROM datahub_jobs") == [("subscribe_ggos",)]
    return world


def test_what_was_issued_before_the_subscription_is_fetched(producing: World) -> None:
    """Whatever the year. Each GGO is stored once, even if a webhook reports it, too."""
    years = [BEGIN.replace(year=year) for year in (1999, 2019, 2020, 2021, 2026)]
    edges = [datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)]
    addresses = issue(producing, *years, *edges)
    assert producing.listed("alice") == []
    producing.datahub.clear_faults()
    run_all(producing)
    assert {ggo["address"] for ggo in producing.listed("alice")} == set(addresses)
    assert not any(producing.rows("SELECT 1 FROM ggos WHERE key_mismatch"))
    before = producing.rows("SELECT * FROM ggos")
    producing.webhook("on-ggo-issued", {"sub": "alice", "ggo": shown(producing, years[1])})
    producing.rows(
        "INSERT INTO datahub_jobs (user_id, kind, metering_point_id) "
        "SELECT user_id, 'fetch_ggos', id FROM metering_points"
    )
    run_all(producing)
    assert producing.rows("SELECT * FROM ggos") == before


def shown(world: World, begin: datetime) -> Any:
    """Return a GGO as DataHub shows it."""
    token = world.token("alice")
    [found] = world.runtime.datahub.ggos(token, GSRN, begin, begin).valid
    times = ("begin", "end", "issueTime", "expireTime")
    fields = msgspec.structs.asdict(found)
    return fields | {name: fields[name].isoformat() for name in times}


def test_ggos_are_fetched_for_a_point_that_a_webhook_reports(producing: World) -> None:
    """As if the point and its GGOs were older than the account."""
    [address] = issue(producing, BEGIN)
    producing.rows("DELETE FROM metering_points")
    producing.rows("UPDATE users SET next_metering_point_index = 0")
    producing.point("alice", GSRN)
    run_all(producing)
    assert [ggo["address"] for ggo in producing.listed("alice")] == [address]


def test_nothing_is_fetched_for_a_point_until_it_produces(world: World) -> None:
    world.new_user("alice")
    register(world, GSRN, kind="consumption")
    run_all(world)
    world.point("alice", GSRN, type="consumption")
    run_all(world)
    assert world.datahub.call_count("/ggo") == 0
    world.point("alice", GSRN)
    run_all(world)
    assert world.datahub.call_count("/ggo") > 0


def test_invalid_ggos_are_left_out(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """By the rules of the webhook. The others are stored."""
    world.new_user("alice")
    odd: list[Any] = [
        {"amount": 0},
        {"amount": "1"},
        {"end": "2020-01-01T12:00:00Z"},
        {"fuelCode": None},
        {"gsrn": OTHER},
        {"begin": "2039-01-01T00:00:00Z", "end": "2039-01-01T01:00:00Z"},
        {"emissions": {"CO2": "much"}},
        {"address": None},
    ]
    ggos = [
        {**ggo_of(GSRN, address=f"849c0b{number:064}"), **fields}
        for number, fields in enumerate(odd)
    ]
    body = {"success": True, "ggos": [*ggos, None, ggo_of(GSRN, new="field")], "new": 1}
    world.datahub.fault(endpoint="/ggo", times=None, status=200, body=body)
    world.point("alice", GSRN)
    run_all(world)
    assert [ggo["address"] for ggo in world.listed("alice")] == [ggo_of(GSRN)["address"]]
    assert ("fetch_ggos",) not in world.rows("SELECT kind FROM datahub_jobs")
    assert "left out" in caplog.text


def test_a_failed_fetch_goes_on_where_it_stopped(producing: World) -> None:
    issue(producing, BEGIN, BEGIN.replace(month=2), BEGIN.replace(year=2024))
    producing.datahub.clear_faults()
    # DataHub answers up to March of 2020, then fails.
    producing.datahub.fault(endpoint="/ggo", times=3, delay_after=0.01)
    producing.datahub.fault(endpoint="/ggo", times=1, status=500)
    producing.make_jobs_due()
    while producing.run_jobs():
        pass
    [job] = producing.rows("SELECT * FROM datahub_jobs")
    assert (job.kind, job.fetched_until) == ("fetch_ggos", datetime(2020, 3, 1, tzinfo=UTC))
    assert len(producing.listed("alice")) == 2
    calls = producing.datahub.call_count("/ggo")
    run_all(producing)
    assert len(producing.listed("alice")) == 3
    assert producing.rows("SELECT * FROM datahub_jobs") == []
    # From March of 2020 on, by half of the stretch that failed; no month before.
    assert producing.datahub.call_count("/ggo") - calls == 4


def asked_stretches(world: World, monkeypatch: pytest.MonkeyPatch) -> list[timedelta]:
    """Record the lengths of the stretches that DataHub is asked for from now on."""
    stretches: list[timedelta] = []
    ask = world.runtime.datahub.ggos

    def noted(token: str, gsrn: str, begin: datetime, end: datetime) -> Any:
        stretches.append(end - begin)
        return ask(token, gsrn, begin, end)

    monkeypatch.setattr(world.runtime.datahub, "ggos", noted)
    return stretches


def issue_months(world: World, count: int) -> list[str]:
    """Issue ten GGOs in each of this many months; return their addresses."""
    begins = [
        datetime(2020 + month // 12, month % 12 + 1, 1 + 3 * number, 12, tzinfo=UTC)
        for month in range(count)
        for number in range(10)
    ]
    return issue(world, *begins)


def test_a_year_is_fetched_by_months(producing: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call costs DataHub more than a month's rows."""
    addresses = issue_months(producing, 12)
    producing.datahub.clear_faults()
    stretches = asked_stretches(producing, monkeypatch)
    run_all(producing)
    assert {ggo["address"] for ggo in producing.listed("alice")} == set(addresses)
    months = sorted(stretches)[:12]
    assert all(timedelta(days=28) < each <= timedelta(days=31) for each in months)
    # Besides them, one stretch for all before and one for all after.
    assert len(stretches) == 14


def test_months_are_fetched_without_summaries(
    producing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = issue_months(producing, 2)
    producing.datahub.clear_faults()
    producing.datahub.fault(endpoint="/measurements/summary", times=None, status=404)
    stretches = asked_stretches(producing, monkeypatch)
    run_all(producing)
    assert {ggo["address"] for ggo in producing.listed("alice")} == set(addresses)
    assert all(each <= timedelta(days=31) for each in stretches[1:-1])


def test_a_month_that_is_too_slow_is_fetched_by_shorter_stretches(
    producing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A month takes DataHub 2 s; the timeout is 1.1 s."""
    addresses = issue_months(producing, 1)
    producing.datahub.clear_faults()
    monkeypatch.setattr("origin.peers.datahub.ROWS_WITHIN_S", 1.1)
    producing.datahub.control("settings", {"row_seconds": 0.2})
    stretches = asked_stretches(producing, monkeypatch)
    # The next attempt waits only for as long as the last one took.
    monkeypatch.setattr(job_queue, "backoff_s", lambda *_: 0.0)
    producing.make_jobs_due()

    def is_done() -> bool:
        producing.run_jobs()
        return producing.rows("SELECT * FROM datahub_jobs") == []

    eventually(is_done, "all GGOs", within=90)
    assert {ggo["address"] for ggo in producing.listed("alice")} == set(addresses)
    assert len(stretches) < 20


def test_a_fetch_that_timed_out_is_retried_after_as_long(
    producing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(producing, BEGIN)
    producing.datahub.clear_faults()
    run_all(producing)
    monkeypatch.setattr("origin.peers.datahub.ROWS_WITHIN_S", 3.0)
    producing.rows(
        "INSERT INTO datahub_jobs (user_id, kind, metering_point_id, fetched_until) "
        "SELECT user_id, 'fetch_ggos', id, '2020-01-01T00:00Z' FROM metering_points"
    )
    producing.datahub.fault(endpoint="/ggo", times=None, delay_before=60)
    calls = producing.datahub.call_count("/ggo")
    producing.run_jobs()
    assert producing.datahub.call_count("/ggo") == calls + 1
    [job] = producing.rows("SELECT *, next_attempt_at - now() AS pause FROM datahub_jobs")
    assert job.pause > timedelta(seconds=2)
    # Half of January is next.
    assert (job.fetch_hours, job.last_error) == (31 * 12, "DataHubService: ReadTimeoutError")


@pytest.mark.parametrize("rotations", [2, 3])
def test_key_rotations_during_a_fetch_fail_no_job(
    producing: World, monkeypatch: pytest.MonkeyPatch, rotations: int
) -> None:
    """One while DataHub is asked, or also one between look-up and insert."""
    addresses = issue(producing, BEGIN, BEGIN + timedelta(hours=1))
    producing.datahub.clear_faults()
    # The first two look-ups come before DataHub is asked, for the months and for the GGOs.
    look_up = "origin.intake.service.back_fill.owner_and_point_of"
    producing.rotate_key_after(monkeypatch, look_up, "alice", times=rotations)
    monkeypatch.setattr(
        "origin.intake.service.job_work.end_of_stretch", lambda *_, **__: PAST_LAST_BEGIN
    )
    run_all(producing)
    assert {ggo["address"] for ggo in producing.listed("alice")} == set(addresses)
    assert producing.rows("SELECT kind, last_error FROM datahub_jobs") == []


def test_a_long_fetch_lets_other_jobs_run_first(
    producing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_work, "FETCH_RUN_S", 0.0)
    monkeypatch.setattr("origin.intake.service.back_fill.ISSUED_AT_ONCE", 2)
    issue(producing, *[BEGIN + timedelta(hours=number) for number in range(5)])
    producing.datahub.clear_faults()
    run_all(producing)
    assert len(producing.listed("alice")) == 5
    assert producing.rows("SELECT * FROM datahub_jobs") == []
