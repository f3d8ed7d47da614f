"""When an adoption adds up, what its report holds, and what is sealed on the way."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.adoption.rules import (
    AdoptedAccount,
    CannotAdopt,
    Count,
    EnergyRow,
    EnergyState,
    Kind,
    Report,
    check_balance,
)
from origin.adoption.service.sealing import sealed_subscriptions, sealed_users
from origin.keys.derivation import master_key
from origin.keys.sealing import (
    Sealer,
    early_webhook_secret_context,
    master_key_context,
    webhook_secret_context,
)

numbers = st.integers(min_value=0, max_value=2**70)
counts = st.builds(
    lambda adopted, rejected: Count(adopted + rejected, adopted, rejected), numbers, numbers
)
energy_rows = st.lists(
    st.builds(
        EnergyRow,
        st.one_of(st.none(), st.integers(1, 9)),
        st.one_of(st.none(), st.text(max_size=5)),
        st.sampled_from([state.value for state in EnergyState]),
        counts,
    ),
    max_size=5,
)


def report_of(rows: list[EnergyRow], kinds: dict[str, Count]) -> Report:
    sums = [
        sum(getattr(row.wh, name) for row in rows) for name in ("source", "adopted", "rejected")
    ]
    return Report(
        source="db, schema s",
        is_dry=False,
        kinds=kinds,
        energy=Count(*sums),
        energy_rows=rows,
        batches={"COMPLETED": 1},
        notes={"a": 0},
    )


reports = st.builds(
    report_of, energy_rows, st.fixed_dictionaries({kind.value: counts for kind in Kind})
)


@given(reports)
def test_a_report_survives_being_stored(report: Report):
    stored = json.loads(json.dumps(report.as_json()))
    assert Report.from_json(stored) == report


@given(reports)
def test_what_adds_up_passes(report: Report):
    check_balance(report)
    assert sum(count.source for count in report.energy_by_state().values()) == report.energy.source


@given(reports, st.sampled_from(list(Kind)), st.integers(-5, 5).filter(bool))
def test_a_row_too_few_or_too_many_is_found(report: Report, kind: Kind, more: int):
    count = report.kinds[kind]
    wrong = Count(count.source + more, count.adopted, count.rejected)
    with pytest.raises(CannotAdopt, match=f"{kind.value} {wrong.source} ≠ "):
        check_balance(Report(**{**vars(report), "kinds": {**report.kinds, kind.value: wrong}}))


def test_energy_that_moved_between_users_is_found():
    """All sums are right, but one user's Wh became another's."""
    rows = [
        EnergyRow(1, "anna", "stored", Count(10, 4, 0)),
        EnergyRow(2, "bert", "stored", Count(0, 6, 0)),
    ]
    with pytest.raises(CannotAdopt, match="Wh of user 1, stored 10 ≠ "):
        check_balance(report_of(rows, {}))


SEALER = Sealer(["the secret of this test"])
KEY = master_key(bytes(32)).base58()
USER = {
    "id": "1",
    "created": None,
    "sub": "anna",
    "master_extended_key": KEY,
    "access_token": "access",
    "refresh_token": "refresh",
    "token_expire": "2020-01-01 00:00:00+00",
    "last_login": None,
    "disabled": "false",
}


def test_keys_and_tokens_are_sealed():
    ((_, _, subject, key, access, refresh, *_),) = sealed_users(SEALER, [USER])
    assert SEALER.open(key, master_key_context(subject)) == KEY
    for sealed in (key, access, refresh):
        assert sealed.startswith("v1.")


def test_a_disabled_user_keeps_no_tokens():
    for disabled in ("true", None):
        ((_, _, _, key, access, refresh, *_),) = sealed_users(
            SEALER, [{**USER, "disabled": disabled}]
        )
        assert key is not None
        assert (access, refresh) == (None, None)


XPUB = (
    "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TM"
    "g7usUDFdp6W1EGMcet8"
)


@pytest.mark.parametrize("key", [None, "", "xprv", KEY[:-1], KEY[:-1] + "0", XPUB, "é" * 111])
def test_a_master_key_that_is_none_is_left_out(key: str | None):
    ((_, _, _, sealed, *_),) = sealed_users(SEALER, [{**USER, "master_extended_key": key}])
    assert sealed is None


HOOK = {
    "id": "1",
    "event": "ON_GGO_RECEIVED",
    "subject": "anna",
    "url": "https://a.example/",
    "secret": "s",
}


def test_a_subscription_is_sealed_for_whom_it_is_of():
    active, disabled = AdoptedAccount(5, is_disabled=False), AdoptedAccount(5, is_disabled=True)
    event, url = HOOK["event"], HOOK["url"]
    for accounts, context in (
        ({"anna": active}, webhook_secret_context(5, event, url)),
        ({}, early_webhook_secret_context("anna", event, url)),
    ):
        ((*_, host, sealed, problem),) = sealed_subscriptions(SEALER, [HOOK], accounts)
        assert (host, SEALER.open(sealed, context), problem) == ("a.example:443", "s", None)
    ((*_, sealed, problem),) = sealed_subscriptions(SEALER, [HOOK], {"anna": disabled})
    assert (sealed, problem) == (None, None)


@pytest.mark.parametrize("url", [None, "", "a.example", "ftp://a.example", "https://u:p@a.example"])
def test_a_subscription_without_a_usable_url_has_a_problem(url: str | None):
    ((*_, problem),) = sealed_subscriptions(SEALER, [{**HOOK, "url": url}], {})
    assert problem == "Its URL is not one that webhooks can be sent to"
