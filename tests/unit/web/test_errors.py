"""The table of errors: every error that a client may see has one code, one status and one message."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from http import HTTPStatus

import pytest

import origin
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
    """Import every module that may define an error; programs would start."""
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
    """Version 2 tells them apart further; the old API does not."""
    assert {TABLE[each].status for each in _errors(Rejected)} == {HTTPStatus.BAD_REQUEST}


def test_an_error_without_an_entry_is_worded_as_its_nearest_base():
    answer = worded(PeerClientRefused("Hydra", "401"))
    assert (answer.status, answer.code) == (502, "peer_failed")
    assert answer.body == {"success": False, "message": "Hydra answered what it should not"}


def test_an_error_that_is_not_for_clients_has_no_words():
    with pytest.raises(LookupError):
        worded(OriginError("secret"))
