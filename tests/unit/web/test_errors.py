"""The table of errors: every error that a client may see has one code, one status and one message."""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from http import HTTPStatus

import pytest

import origin
from devstack.processes import ROOT
from origin import errors
from origin.errors import OriginError, PeerClientRefused, Rejected
from origin.intake.rules.events import GgoImpossible
from origin.keys.derivation import IndexOutOfRange
from origin.web.errors import OLD_API, TABLE, worded

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
    rejections = [each for each in _errors(Rejected) if each in OLD_API]
    assert {OLD_API[each].status for each in rejections} == {HTTPStatus.BAD_REQUEST}


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


class _Varying(str):
    """Stands for what an error says: text, a number, a time or a collection."""

    __slots__ = ()

    def __format__(self, _spec: str) -> str:
        return "…"

    def isoformat(self) -> str:
        return "…"

    def items(self) -> list[tuple[str, str]]:
        return [("…", "…")]


class _Facts:
    def __getattr__(self, _name: str) -> _Varying:
        return _Varying("…")


_ALL_VARYING = {IndexOutOfRange: "…", GgoImpossible: '{"ggo": {"…": ["…"]}}'}
"""Errors whose whole message depends on what happened."""


def _catalogued(error: type[OriginError]) -> tuple[int, str] | None:
    """Return the status and the message that the catalogue must have, None if no client sees it."""
    wording = next((OLD_API[each] for each in error.__mro__ if each in OLD_API), None)
    if wording is None or error in _ALL_VARYING:
        return wording and (wording.status, _ALL_VARYING[error])
    message = wording.message(_Facts())
    text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    return wording.status, text


def test_the_documents_catalogue_has_every_error_as_it_is_answered():
    page = (ROOT / "doc/integrating/errors.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| `(.+?)` \| ", page, re.MULTILINE)
    listed = {code: (int(status), message) for code, status, message in rows}
    assert len(listed) == len(rows), "a code is listed twice"
    answered = {each.code: _catalogued(each) for each in _errors() if each.code is not None}
    assert listed == {code: answer for code, answer in answered.items() if answer is not None}
    explained = {int(status) for status in re.findall(r"`(\d{3})`", page)}
    assert {wording.status for wording in OLD_API.values()} <= explained
