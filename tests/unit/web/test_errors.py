"""The table of errors: every error that a client may see has one code, one status and one message."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from http import HTTPStatus

import pytest

import origin
from origin import errors
from origin.errors import OriginError, PeerClientRefused, Rejected
from origin.web.errors import TABLE, worded

_PROGRAMS = ("origin.tasks", "origin.web.gunicorn", "origin.migrate", "origin.healthcheck")


def _errors(base: type[OriginError] = OriginError) -> Iterator[type[OriginError]]:
    """The service's classes of errors."""
    for each in base.__subclasses__():
        if each.__module__.startswith("origin."):
            yield each
            yield from _errors(each)


@pytest.fixture(scope="module", autouse=True)
def _all_modules() -> None:
    """Import every module that may define an error, except programs: they would start."""
    for each in pkgutil.walk_packages(origin.__path__, "origin.", onerror=_ignore):
        if not each.name.startswith(_PROGRAMS):
            importlib.import_module(each.name)


def _ignore(_name: str) -> None:
    """Leave out a package that cannot be imported here."""


def test_codes_are_unique_and_in_snake_case():
    own = [each.__dict__["code"] for each in set(_errors()) if each.__dict__.get("code")]
    assert len(own) == len(set(own))
    assert [each for each in own if not re.fullmatch("[a-z]+(_[a-z0-9]+)*", each)] == []


def test_every_rule_that_a_request_can_break_is_worded():
    assert [each for each in _errors(Rejected) if each not in TABLE] == []


def test_every_worded_error_has_a_code_of_its_own():
    assert [each for each in TABLE if each.__dict__.get("code") is None] == []


def test_broken_rules_are_bad_requests():
    """In the old API. Version 2 has more statuses for them."""
    assert {TABLE[each].status for each in _errors(Rejected)} == {HTTPStatus.BAD_REQUEST}


def test_an_error_without_an_entry_is_worded_as_its_nearest_base():
    answer = worded(PeerClientRefused("Hydra", "401"))
    assert (answer.status, answer.code) == (502, "peer_failed")
    assert answer.body == {"success": False, "message": "Hydra answered what it should not"}


_BEARER = 'Bearer realm="AccountService"'


@pytest.mark.parametrize(
    ("error", "status", "message", "headers"),
    [
        (errors.AccessTokenMissing(), 401, "No bearer token", {"WWW-Authenticate": _BEARER}),
        (
            errors.AccessTokenInvalid(),
            401,
            "The token is not valid",
            {"WWW-Authenticate": f'{_BEARER}, error="invalid_token"'},
        ),
        (
            errors.CallerDisabled(),
            401,
            "The token is not valid",
            {"WWW-Authenticate": f'{_BEARER}, error="invalid_token"'},
        ),
        (
            errors.SignatureInvalid(),
            401,
            "The signature is missing or wrong",
            {"WWW-Authenticate": "x-hub-signature"},
        ),
        (
            errors.ScopeMissing({"ggo.transfer", "ggo.retire"}),
            403,
            "The token lacks a scope of: ggo.retire ggo.transfer",
            {
                "WWW-Authenticate": (
                    f'{_BEARER}, error="insufficient_scope", scope="ggo.retire ggo.transfer"'
                )
            },
        ),
        (errors.BodyTooSlow(0.5), 408, "The body took longer than 0.5 s to arrive", {}),
        (errors.BodyTooSlow(30.0), 408, "The body took longer than 30 s to arrive", {}),
        (errors.PlaceNeeded(), 408, "Too busy to wait for the body", {}),
        (errors.BodyTooLarge(1_048_576), 413, "The body is longer than 1048576 bytes", {}),
        (
            errors.RateLimited(per_minute=600, wait_s=7),
            429,
            "More than 600 requests in a minute",
            {"Retry-After": "7"},
        ),
        (
            errors.PeerUnreachable("Hydra", "refused"),
            503,
            "Hydra is out of reach",
            {"Retry-After": "10"},
        ),
        (
            errors.PeerTooSlow("Hydra", "timeout"),
            503,
            "Hydra is out of reach",
            {"Retry-After": "60"},
        ),
        (errors.PeerMisbehaved("Hydra", "x"), 502, "Hydra answered what it should not", {}),
        (errors.PeerUnauthorized("Hydra", "x"), 502, "Hydra answered what it should not", {}),
        (
            errors.DatabaseUnavailable(),
            503,
            "The database is out of reach",
            {"Retry-After": "10"},
        ),
        (
            errors.DatabaseReadOnly(),
            503,
            "The database can't be written now",
            {"Retry-After": "10"},
        ),
        (errors.NoConnectionFree(), 503, "Too busy", {"Retry-After": "10"}),
        (errors.ValueNotStorable(), 400, "A value is too large, or none that can be stored", {}),
    ],
)
def test_answers_are_those_of_the_old_api_to_the_letter(
    error: OriginError, status: int, message: str, headers: dict[str, str]
):
    """Errors of callers, bodies, peers and the database. `test_messages` has the rules of requests."""
    answer = worded(error)
    assert (answer.status, answer.headers) == (status, headers)
    assert answer.body == {"success": False, "message": message}


def test_an_error_that_is_not_for_clients_has_no_words():
    with pytest.raises(LookupError):
        worded(OriginError("secret"))
