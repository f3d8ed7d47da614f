"""The ledger's HTTP side: a Sawtooth REST API (contract: peers, The ledger).

Links in its answers are never followed: the batch ids are known before.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeVar

import orjson

from origin.clients.http import READ_TIMEOUT_S, Answer, PeerClient
from origin.domain.reconciliation import Record
from origin.domain.recovery import Settled, There
from origin.domain.settlement import BatchStatus, Next
from origin.errors import PeerError, PeerMisbehaved, PeerUnavailable, PeerUnreachable
from origin.telemetry.metrics import LEDGER_ERRORS

T = TypeVar("T")

NAME = "Ledger"

MAX_STATUSES_BY_GET = 15

# Not 18: a validator that disconnects may have taken what it was sent.
_UNARRIVED_CODES = frozenset({15, 31})
_REFUSAL_CODES = frozenset({30, 34, 35, 42, 43, 46, 60, 62, 66})
_NOTHING_AT_ADDRESS = 75
_NOT_THERE_CODES = frozenset({70, 71, 72, _NOTHING_AT_ADDRESS, 80})
_KNOWN_CODES = frozenset({10, 15, 17, 18, 19, 20, 21, 27, 31, *_REFUSAL_CODES, *_NOT_THERE_CODES})


class Posted(Enum):
    """What a POST of a batch came to."""

    ACCEPTED = "accepted"
    UNARRIVED = "did not arrive"
    """It surely wasn't taken: no connection, a ledger that isn't ready yet, or a full queue."""
    REFUSED = "refused"
    """The ledger says that the request is wrong, for good."""
    UNCERTAIN = "may have arrived"
    """It may have arrived."""


@dataclass(frozen=True)
class PostAnswer:
    """The outcome of a POST, and the ledger's own words where it had any."""

    outcome: Posted
    reason: str = ""
    is_of_this_batch: bool = False
    """The ledger answered, oddly, and may answer well to the next one."""


@dataclass(frozen=True)
class StatusAnswer:
    """The status of one batch; the reason is the ledger's for an INVALID one."""

    status: BatchStatus
    reason: str = ""


class LedgerClient:
    """Posts batches, and asks what became of them.

    :param url: LEDGER_URL, without a trailing slash.
    """

    def __init__(self, url: str, *, tls_verify: bool) -> None:
        self._url = url
        self._http = PeerClient(NAME, tls_verify=tls_verify, answer_within_s=READ_TIMEOUT_S)

    def ggo_there(self, address: str) -> There | None:
        """Ask for what the GGO at this address holds, and what it was turned into, in order.

        :returns: None where nothing is at that address.
        :raises PeerError: the ledger can't say now, or says what isn't a GGO.
        """
        return self._read(address, lambda state: _there_in(address, state))

    def settlement_there(self, address: str) -> Settled | None:
        """Ask for the settlement at this address.

        :returns: None where nothing is at that address.
        :raises PeerError: the ledger can't say now, or says what isn't a settlement.
        """
        return self._read(address, _settled_in)

    def post(self, batch_list: bytes) -> PostAnswer:
        """Post a serialised BatchList. Never raises for what the ledger does."""
        try:
            response = self._http.request(
                "POST",
                f"{self._url}/batches",
                body=batch_list,
                headers={"Content-Type": "application/octet-stream"},
            )
        except PeerUnreachable as error:
            return PostAnswer(Posted.UNARRIVED, error.reason)
        except PeerError as error:
            return PostAnswer(Posted.UNCERTAIN, error.reason)
        if response.status_code == 202:
            return PostAnswer(Posted.ACCEPTED)
        code, reason = self._error_of(response)
        if code in _UNARRIVED_CODES and response.status_code in {429, 503}:
            return PostAnswer(Posted.UNARRIVED, reason)
        if code in _REFUSAL_CODES and response.status_code == 400:
            return PostAnswer(Posted.REFUSED, reason)
        is_of_this_batch = response.status_code < 500 and response.status_code != 429
        return PostAnswer(Posted.UNCERTAIN, reason, is_of_this_batch)

    def statuses(self, batch_ids: Sequence[str]) -> dict[str, StatusAnswer]:
        """Ask for the statuses of many batches in one call.

        :returns: by batch id; one that the ledger left out, gave two answers about, or gave a
            status that the contract doesn't know, is missing.
        :raises PeerError: the ledger can't say now.
        """
        url = f"{self._url}/batch_statuses"
        if len(batch_ids) <= MAX_STATUSES_BY_GET:
            response = self._http.request("GET", url, params={"id": ",".join(batch_ids)})
        else:
            response = self._http.post_json(url, list(batch_ids))
        if response.status_code == 404 and self._error_of(response)[0] in _NOT_THERE_CODES:
            return self._not_there(batch_ids)
        self._expect_ok(response)
        data = self._http.json_object(response).get("data")
        if not isinstance(data, list):
            raise PeerMisbehaved(NAME, "no list of batch statuses")
        return _statuses_in(data, frozenset(batch_ids))

    def _not_there(self, batch_ids: Sequence[str]) -> dict[str, StatusAnswer]:
        """The statuses of batches of which one at least isn't there: asked again by halves."""
        if len(batch_ids) <= 1:
            return {each: StatusAnswer(BatchStatus.UNKNOWN) for each in batch_ids}
        middle = len(batch_ids) // 2
        return self.statuses(batch_ids[:middle]) | self.statuses(batch_ids[middle:])

    def ggo_next(self, address: str) -> Next | None:
        """Ask what the GGO at this address was turned into.

        :returns: None where it is unspent, or where nothing is at that address.
        :raises PeerError: the ledger can't say now, or says what isn't a GGO.
        """
        return self._read(address, _next_in)

    def ggo_record(self, address: str) -> Record | None:
        """Ask for all that the state has of the GGO at this address.

        :returns: None where nothing is at that address.
        :raises PeerError: as `ggo_next`.
        """
        return self._read(address, _record_in)

    def settled(self, address: str) -> dict[str, int] | None:
        """Ask for the parts of the settlement at this address: Wh by GGO.

        :returns: None where nothing is at that address.
        :raises PeerError: the ledger can't say now, or says what isn't a settlement.
        """
        return self._read(
            address, lambda state: {str(part["ggo"]): part["amount"] for part in state["parts"]}
        )

    def _read(self, address: str, parse: Callable[[Any], T]) -> T | None:
        response = self._http.request("GET", f"{self._url}/state/{address}")
        if response.status_code == 404 and self._error_of(response)[0] == _NOTHING_AT_ADDRESS:
            return None
        self._expect_ok(response)
        try:
            return parse(orjson.loads(b64decode(self._http.json_object(response)["data"])))
        except (KeyError, TypeError, ValueError, AttributeError, Base64Error) as error:
            raise PeerMisbehaved(NAME, f"not what is expected at {address}") from error

    def _expect_ok(self, response: Answer) -> None:
        if response.status_code == 200:
            return
        _, reason = self._error_of(response)
        kind: type[PeerError] = PeerUnavailable if response.status_code >= 429 else PeerMisbehaved
        raise kind(NAME, reason)

    def _error_of(self, response: Answer) -> tuple[int | None, str]:
        """The error code, where there is one, and words for logs and the batch's row."""
        try:
            error = self._http.json_object(response)["error"]
            code = error["code"]
            words = f"{error.get('title')}: {error.get('message')}"
        except (PeerMisbehaved, KeyError, TypeError, AttributeError):
            LEDGER_ERRORS.labels("none").inc()
            return None, f"HTTP {response.status_code} without a Sawtooth error"
        reason = _storable(f"{code} {words}")
        # Whatever JSON has in its place, a list say, can't even be looked up.
        if not isinstance(code, int):
            LEDGER_ERRORS.labels("other").inc()
            return None, reason
        LEDGER_ERRORS.labels(str(code) if code in _KNOWN_CODES else "other").inc()
        return code, reason


def _next_in(state: Any) -> Next | None:
    following = state["next"]
    if following is None:
        return None
    return Next(str(following["action"]), frozenset(following["addresses"]))


def _record_in(state: Any) -> Record:
    return Record(
        origin=str(state["origin"]),
        amount=state["amount"],
        begin=_time(state["begin"]),
        end=_time(state["end"]),
        sector=state["sector"],
        technology_code=state["tech_type"],
        fuel_code=state["fuel_type"],
        following=_next_in(state),
    )


def _time(text: str) -> datetime:
    """ISO 8601; without an offset it is UTC."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _storable(reason: str) -> str:
    """What PostgreSQL takes of the ledger's words: not too many, and no NUL among them."""
    return reason.replace("\0", "")[:1000]


def _statuses_in(data: list[Any], wanted: frozenset[str]) -> dict[str, StatusAnswer]:
    found: dict[str, StatusAnswer] = {}
    contradictory = set()
    for item in data:
        try:
            batch_id, answer = item["id"], _status_in(item)
            if batch_id not in wanted:
                continue
            if found.setdefault(batch_id, answer) != answer:
                contradictory.add(batch_id)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return {each: answer for each, answer in found.items() if each not in contradictory}


def _status_in(item: Any) -> StatusAnswer:
    invalid = item.get("invalid_transactions") or []
    messages = [each.get("message") for each in invalid]
    reason = "; ".join(str(message) for message in messages if message)
    return StatusAnswer(BatchStatus(item["status"]), _storable(reason))


def _there_in(address: str, state: Any) -> There:
    origin, amount, following = str(state["origin"]), state["amount"], state["next"]
    if type(amount) is not int:
        raise TypeError("amount")
    if following is None:
        return There(address, origin, amount)
    targets = tuple(map(str, following["addresses"]))
    return There(address, origin, amount, str(following["action"]), targets)


def _settled_in(state: Any) -> Settled:
    parts = {str(part["ggo"]): int(part["amount"]) for part in state["parts"]}
    return Settled(str(state["measurement"]), parts)
