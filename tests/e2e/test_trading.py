"""Two users trade and retire GGOs, from the login to the ledger, over HTTP only."""

import secrets
from collections import Counter
from dataclasses import replace

import pytest

from tests.support.concurrency import at_once
from tests.support.live_system import LiveSystem, hour, new_gsrn
from tests.support.waiting import eventually


def test_three_processes_migrate_an_empty_database_at_once(system: LiveSystem):
    """The fixture starts the system like this."""
    assert all(process.pid for process in system.services.all)
    assert len(system.rows("SELECT version_num FROM alembic_version")) == 1


def test_from_login_to_ledger(system: LiveSystem):
    """Logins, webhooks in reverse order and doubled, composes, and both accounts in the end."""
    anna, bo = system.households("anna", "bo")
    datahub = system.sandbox.datahub
    ggos = [
        {"gsrn": anna.production, "begin": hour(number), "amount": 1000 + number}
        for number in range(4)
    ]
    first, second = datahub.issue_many(ggos[:2], webhooks="double")
    third, fourth = datahub.issue_many(ggos[2:], webhooks="hold")
    datahub.release("reverse")
    for home, number, wh in ((anna, 0, 300), (anna, 1, 1001), (bo, 0, 250)):
        system.publish_consumption(home, number, wh)
    assert {each["state"] for each in datahub.deliveries(wait=30)} == {"DELIVERED"}
    issued = [first, second, third, fourth]
    assert [ggo["address"] for ggo in anna.stored()] == [ggo["address"] for ggo in issued]

    orders = [
        anna.order(first["address"], transfers=[(400, bo), (50, anna)], retires=[100, 200]),
        anna.order(second["address"], retires=[1001]),
        anna.order(third["address"], transfers=[(1002, bo)]),
    ]
    for order in orders:
        anna.api.call("/ggo/compose", order)
    # Totals are right at once, before the ledger has the batches.
    assert anna.api.total_wh(category="stored") == 50 + 250 + 1003
    assert anna.api.total_wh(category="retired") == 300 + 1001
    assert bo.api.total_wh(category="stored") == 1402
    system.wait_until_settled()
    assert sorted(ggo["amount"] for ggo in anna.stored()) == [50, 250, 1003]
    assert sorted(ggo["amount"] for ggo in bo.stored()) == [400, 1002]

    [bought] = [ggo for ggo in bo.stored() if ggo["amount"] == 400]
    assert bo.compose(bought["address"], retires=[250]).status_code == 200
    system.settle_and_audit()
    assert sorted(ggo["amount"] for ggo in anna.api.ggos(category="retired")) == [100, 200, 1001]
    assert [ggo["amount"] for ggo in bo.api.ggos(category="retired")] == [250]
    assert sorted(ggo["amount"] for ggo in bo.stored()) == [150, 1002]
    assert anna.api.total_wh(category="issued") == 4006
    assert fourth["address"] in {ggo["address"] for ggo in anna.stored()}


def test_repeated_webhooks_change_nothing(system: LiveSystem):
    anna = system.household("anna")
    address = system.issue(anna, 0, 100)
    system.sandbox.datahub.repeat()
    assert {each["state"] for each in system.sandbox.datahub.deliveries(wait=30)} == {"DELIVERED"}
    assert [ggo["address"] for ggo in anna.api.ggos()] == [address]


def test_a_ggo_before_its_metering_point_waits_for_it(system: LiveSystem):
    """A GGO of an unknown metering point is kept until the webhook about the point arrives."""
    anna = system.household("anna")
    fetching = "SELECT id FROM datahub_jobs WHERE kind = 'fetch_ggos'"
    eventually(lambda: not system.rows(fetching), "what was issued before has been fetched")
    known = system.sandbox.datahub.issue(anna.production, hour(5), 70, webhooks="none")
    later = replace(anna, production=new_gsrn())
    early = {**known, "gsrn": later.production, "address": "849c0b" + secrets.token_hex(32)}
    system.sandbox.datahub.send(anna.subject, "on-ggo-issued", {"sub": anna.subject, "ggo": early})
    eventually(
        lambda: system.rows("SELECT id FROM kept_events WHERE gsrn = %s", later.production),
        "the GGO is kept",
    )
    assert anna.api.ggos() == []
    system.add_point(anna.subject, later.production, "production")
    eventually(anna.api.ggos, "the GGO is listed")
    [listed] = anna.api.ggos(category="issued")
    assert (listed["amount"], listed["issueGsrn"]) == (70, later.production)
    # Our keys don't derive its address, so it is listed, but can't be composed.
    answer = anna.compose(early["address"], transfers=[(1, anna)])
    assert answer.status_code == 400
    assert answer.json()["message"] == f"GGO not found or is unavailable: {early['address']}"
    system.sandbox.datahub.send(anna.subject, "on-ggo-issued", {"sub": anna.subject, "ggo": known})
    eventually(lambda: len(anna.api.ggos()) == 2, "the known one, too")
    system.settle_and_audit()


def test_ten_clients_compose_one_ggo_at_once(system: LiveSystem):
    anna, bo = system.households("anna", "bo")
    address = system.issue(anna, 0, 1000)
    clients = [system.another_session(anna) for _ in range(10)]
    answers = at_once(
        *(
            lambda client=client: client.compose(address, transfers=[(100, bo)])
            for client in clients
        )
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 9}
    assert {answer.json()["message"] for answer in answers} == {
        None,
        f"GGO not found or is unavailable: {address}",
    }
    assert anna.api.total_wh(category="stored") == 900
    assert bo.api.total_wh(category="stored") == 100
    system.settle_and_audit()
    assert system.batch_states(address) == ["COMPLETED"]


@pytest.mark.parametrize("measured", [139, 140])
def test_two_composes_retire_to_one_measurement_at_once(system: LiveSystem, measured: int):
    """70 Wh of each of two GGOs: both succeed if enough was measured, else only one."""
    anna = system.household("anna")
    homes = [anna, system.with_new_production_point(system.another_session(anna))]
    system.publish_consumption(anna, 0, measured)
    sources = [system.issue(home, 0, 1000) for home in homes]
    answers = at_once(
        *(
            lambda home=home, source=source: home.compose(source, retires=[70])
            for home, source in zip(homes, sources, strict=True)
        )
    )
    fit = measured // 70
    assert sorted(answer.status_code for answer in answers) == [200] * fit + [400] * (2 - fit)
    refusals = [answer.json()["message"] for answer in answers if answer.status_code == 400]
    assert refusals == ["Can only retire up to 69 (you tried to retire 70)"] * (2 - fit)
    assert anna.api.total_wh(category="retired") == 70 * fit
    system.settle_and_audit()
