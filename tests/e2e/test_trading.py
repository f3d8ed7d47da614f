"""Two users and their electricity, from the login to the ledger, through the wire alone."""

import secrets
from collections import Counter
from dataclasses import replace

import pytest

from tests.support.parallel import at_once
from tests.support.town import Town, hour, new_gsrn
from tests.support.waiting import eventually


def test_three_processes_migrate_an_empty_database_at_once(town: Town):
    """That is how the town was started."""
    assert all(process.pid for process in town.services.all)
    assert len(town.rows("SELECT version_num FROM alembic_version")) == 1


def test_from_login_to_ledger(town: Town):
    """Logins, webhooks in odd orders and doubled, composes, and both accounts in the end."""
    anna, bo = town.households("anna", "bo")
    datahub = town.sandbox.datahub
    ggos = [
        {"gsrn": anna.production, "begin": hour(number), "amount": 1000 + number}
        for number in range(4)
    ]
    first, second = datahub.issue_many(ggos[:2], webhooks="double")
    third, fourth = datahub.issue_many(ggos[2:], webhooks="hold")
    datahub.release("reverse")
    for home, number, wh in ((anna, 0, 300), (anna, 1, 1001), (bo, 0, 250)):
        town.consume(home, number, wh)
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
    # At once, long before the ledger has heard of it.
    assert anna.api.total_wh(category="stored") == 50 + 250 + 1003
    assert anna.api.total_wh(category="retired") == 300 + 1001
    assert bo.api.total_wh(category="stored") == 1402
    town.quiet()
    assert sorted(ggo["amount"] for ggo in anna.stored()) == [50, 250, 1003]
    assert sorted(ggo["amount"] for ggo in bo.stored()) == [400, 1002]

    [bought] = [ggo for ggo in bo.stored() if ggo["amount"] == 400]
    assert bo.compose(bought["address"], retires=[250]).status_code == 200
    town.settle()
    assert sorted(ggo["amount"] for ggo in anna.api.ggos(category="retired")) == [100, 200, 1001]
    assert [ggo["amount"] for ggo in bo.api.ggos(category="retired")] == [250]
    assert sorted(ggo["amount"] for ggo in bo.stored()) == [150, 1002]
    assert anna.api.total_wh(category="issued") == 4006
    assert fourth["address"] in {ggo["address"] for ggo in anna.stored()}


def test_webhooks_that_come_again_change_nothing(town: Town):
    anna = town.household("anna")
    address = town.issue(anna, 0, 100)
    town.sandbox.datahub.repeat()
    assert {each["state"] for each in town.sandbox.datahub.deliveries(wait=30)} == {"DELIVERED"}
    assert [ggo["address"] for ggo in anna.api.ggos()] == [address]


def test_a_ggo_before_its_metering_point_waits_for_it(town: Town):
    """Told of a GGO of a point that nobody knows, the service asks DataHub, in vain; then it comes."""
    anna = town.household("anna")
    fetching = "SELECT id FROM datahub_jobs WHERE kind = 'fetch_ggos'"
    eventually(lambda: not town.rows(fetching), "what was issued before has been fetched")
    known = town.sandbox.datahub.issue(anna.production, hour(5), 70, webhooks="none")
    later = replace(anna, production=new_gsrn())
    early = {**known, "gsrn": later.production, "address": "849c0b" + secrets.token_hex(32)}
    town.sandbox.datahub.send(anna.subject, "on-ggo-issued", {"sub": anna.subject, "ggo": early})
    eventually(
        lambda: town.rows("SELECT id FROM kept_events WHERE gsrn = %s", later.production),
        "the GGO is kept",
    )
    assert anna.api.ggos() == []
    town.add_point(anna.subject, later.production, "production")
    eventually(anna.api.ggos, "the GGO is listed")
    [listed] = anna.api.ggos(category="issued")
    assert (listed["amount"], listed["issueGsrn"]) == (70, later.production)
    # Its address isn't one that our keys give: it is shown, and can't go anywhere.
    answer = anna.compose(early["address"], transfers=[(1, anna)])
    assert answer.status_code == 400
    assert answer.json()["message"] == f"GGO not found or is unavailable: {early['address']}"
    town.sandbox.datahub.send(anna.subject, "on-ggo-issued", {"sub": anna.subject, "ggo": known})
    eventually(lambda: len(anna.api.ggos()) == 2, "the known one, too")
    town.settle()


def test_ten_clients_compose_one_ggo_at_once(town: Town):
    anna, bo = town.households("anna", "bo")
    address = town.issue(anna, 0, 1000)
    clients = [town.another_session(anna) for _ in range(10)]
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
    town.settle()
    assert town.batch_states(address) == ["COMPLETED"]


@pytest.mark.parametrize("measured", [139, 140])
def test_two_composes_retire_to_one_measurement_at_once(town: Town, measured: int):
    """70 Wh each, of two GGOs: both where there is room, else one of them."""
    anna = town.household("anna")
    homes = [anna, town.another_meter(town.another_session(anna))]
    town.consume(anna, 0, measured)
    sources = [town.issue(home, 0, 1000) for home in homes]
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
    town.settle()
