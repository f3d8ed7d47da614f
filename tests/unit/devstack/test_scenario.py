"""The demo's scenario: expected holdings add up, and the service must accept each order."""

from devstack.scenario import HOURS_PER_DAY, Scenario
from origin.web.described import A_CONSUMPTION_GSRN, A_PRODUCTION_GSRN


def test_energy_is_conserved():
    scenario = Scenario()
    for stage in (scenario.before(), scenario.sold(), scenario.retired(), scenario.after()):
        assert sum(each.stored + each.retired for each in stage.values()) == sum(
            each.issued for each in stage.values()
        )
        assert sum(each.sent for each in stage.values()) == sum(
            each.received for each in stage.values()
        )
        for each in stage.values():
            assert each.issued + each.received == each.sent + each.stored + each.retired


def test_orders_are_covered_by_wind_and_measurements():
    scenario = Scenario()
    hours = {hour.begin: hour for hour in scenario.hours}
    bought = {}
    for order in scenario.annas_orders():
        assert 0 < order.sold + order.retired <= hours[order.begin].produced
        assert order.retired <= hours[order.begin].anna_used
        bought[order.begin] = order.sold
    for order in scenario.bos_orders():
        assert 0 < order.retired <= min(bought[order.begin], hours[order.begin].bo_used)


def test_whole_and_split_ggos_are_both_retired():
    scenario = Scenario()
    bought = {order.begin: order.sold for order in scenario.annas_orders()}
    whole = [order for order in scenario.bos_orders() if order.retired == bought[order.begin]]
    assert len(whole) == HOURS_PER_DAY


def test_gsrns_and_subjects_differ_from_run_to_run():
    first, second = Scenario(), Scenario()
    assert first.anna.subject != second.anna.subject
    assert first.anna.consumption_gsrn != second.anna.consumption_gsrn
    assert all(len(point["gsrn"]) == 18 for each in first.people for point in each.points())


def test_in_a_new_database_it_has_the_users_of_the_descriptions_examples():
    scenario = Scenario(in_new_database=True)
    assert [each.subject for each in scenario.people] == ["anna", "bo"]
    assert scenario.anna.consumption_gsrn == A_CONSUMPTION_GSRN
    assert scenario.anna.production_gsrn == A_PRODUCTION_GSRN
    assert scenario.bo.consumption_gsrn not in {A_CONSUMPTION_GSRN, A_PRODUCTION_GSRN}
