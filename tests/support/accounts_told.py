"""Reads all that version 2 tells of accounts of a live system, and checks that it adds up."""

import time
from collections.abc import Iterator
from threading import Event
from typing import Any

import requests

from devstack.client import ApiClient
from tests.support.auditor_operations import Account
from tests.support.entries_fold import check_folds

_PATIENCE_SECONDS = 300
_PAUSE_SECONDS = 0.1
_PASSING = (500, 502, 503)


class PatientReader:
    """GETs of one account, repeated until they are answered.

    `unanswered` has the statuses of answers that weren't final; None stands for no answer.
    """

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self.unanswered: list[int | None] = []

    def get(self, path: str) -> Any:
        """Return the answer's JSON; AssertionError if it isn't a 200 at last."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = self._api.session.get(f"{self._api.url}{path}", timeout=(5, 30))
            except requests.RequestException:
                self.unanswered.append(None)
            else:
                if answer.status_code == requests.codes.ok:
                    return answer.json()
                assert answer.status_code in _PASSING, f"{path}: {answer.status_code} {answer.text}"
                self.unanswered.append(answer.status_code)
            Event().wait(_PAUSE_SECONDS)
        raise AssertionError(f"{path}: no answer in {_PATIENCE_SECONDS} s: {self.unanswered[-5:]}")

    def pages(self, path: str) -> Iterator[Any]:
        """Return the results of all pages of a list."""
        cursor = ""
        while cursor is not None:
            joint = "&" if "?" in path else "?"
            page = self.get(f"{path}{joint}limit=1000&cursor={cursor}")
            yield from page["results"]
            cursor = page["nextCursor"]


def told_account(reader: PatientReader, subject: str) -> Account:
    """Return all operations of an account, with their items; check that its entries add up to its balance."""
    check_folds(reader.get)
    operations = list(reader.pages("/v2/operations"))
    items = {each["id"]: list(reader.pages(each["links"]["items"])) for each in operations}
    for each in operations:
        assert reader.get(each["links"]["self"]) == each
    return Account(subject, operations, items)
