"""Watches an account's balances and entries while faults happen: what was told once never changes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event
from typing import Any
from urllib.parse import quote

from tests.support.accounts_told import PatientReader
from tests.support.entries_fold import FOLDED, check_identity, fold
from tests.support.lost_data import LostData

_PAUSE_SECONDS = 0.2
_MOMENT = timedelta(microseconds=1)
_MOST_ASKED_AGAIN = 60


@dataclass(frozen=True)
class Told:
    """An answer: the balances at a moment, and all entries up to it.

    `losses`: how often the database had been lost before.
    """

    losses: int
    at: str
    total: dict[str, int]
    groups: list[dict[str, Any]]
    entries: list[dict[str, Any]]


class AnswersKept:
    """Asks for the balances of one account again and again, and keeps the answers."""

    def __init__(self, reader: PatientReader, lost_data: LostData) -> None:
        self.reader = reader
        self._lost_data = lost_data
        self._kept: list[Told] = []

    def watch(self, over: Event) -> None:
        """Ask until the event is set; check each answer by itself, and that time never runs backwards."""
        while not over.is_set():
            losses, is_excused = self._lost_data.count, self._lost_data.going_on.is_set()
            told = self._ask(losses, None)
            # Answers that were read while the database was lost are about different databases.
            if not is_excused and self._lost_data.count == losses:
                self._check(told)
                self._kept.append(told)
            over.wait(_PAUSE_SECONDS)

    def check_again(self) -> None:
        """Ask again about moments that were told before: the answers are the same."""
        kept = [each for each in self._kept if each.losses == self._lost_data.count]
        every = max(1, len(kept) // _MOST_ASKED_AGAIN)
        for told in kept[::every]:
            again = self._ask(told.losses, told.at)
            assert again == told, f"at {told.at}:\n{told}\nlater:\n{again}"

    def _ask(self, losses: int, at: str | None) -> Told:
        grouped = "groupBy=sector,technology,month"
        asked_at = f"&at={quote(at)}" if at else ""
        found = self.reader.get(f"/v2/balances?{grouped}{asked_at}")
        # The end of a period is exclusive.
        end = datetime.fromisoformat(found["at"]) + _MOMENT
        entries = list(self.reader.pages(f"/v2/entries?to={quote(end.isoformat())}"))
        return Told(losses, at or found["at"], found["total"], found["groups"], entries)

    def _check(self, told: Told) -> None:
        check_identity(told.total)
        folded = fold(told.entries)
        assert folded == {name: told.total[name] for name in FOLDED}, (folded, told)
        if self._kept and self._kept[-1].losses == told.losses:
            before = self._kept[-1]
            assert datetime.fromisoformat(before.at) <= datetime.fromisoformat(told.at), (
                f"told as of {before.at}, then as of {told.at}"
            )
            assert told.entries[: len(before.entries)] == before.entries, (before, told)
