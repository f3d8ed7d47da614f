"""The ledger's HTTP side: a Sawtooth REST API (contract: peers, The ledger).

Links in its answers are never followed, as the batch ids are known before.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeVar

from origin.batches.rules.ledger_state import LedgerGgo, LedgerNext, LedgerSettlement
from origin.batches.rules.verdicts import BatchStatus
from origin.errors import PeerError, PeerMisbehaved, PeerUnavailable, PeerUnreachable
from origin.peers.http import READ_TIMEOUT_S, PeerClient, PeerResponse
from origin.shared.json_codec import read_json
from origin.telemetry.metrics import LEDGER_ERRORS, start_at_zero

T = TypeVar("T")

NAME = "Ledger"

MAX_STATUSES_BY_GET = 15

# Without 18: a validator that disconnects may have taken what it was sent.
_UNARRIVED_CODES = frozenset({15, 31})
_REFUSAL_CODES = frozenset({30, 34, 35, 42, 43, 46, 60, 62, 66})
# The REST API gave up waiting for the validator, or lost it: the batch may still be executed.
_STILL_SENT_CODES = frozenset({17, 18, 19})
_NOTHING_AT_ADDRESS = 75
_NOT_THERE_CODES = frozenset({70, 71, 72, _NOTHING_AT_ADDRESS, 80})
_NO_BATCH_CODES = frozenset({60, *_NOT_THERE_CODES})
"""No batch has the id that was asked for. 60: it is not one that a batch can have."""
_KNOWN_CODES = frozenset({10, 15, 17, 18, 19, 20, 21, 27, 31, *_REFUSAL_CODES, *_NOT_THERE_CODES})
start_at_zero(LEDGER_ERRORS, (*map(str, sorted(_KNOWN_CODES)), "other", "none"))


class Posted(Enum):
    """The outcome of a POST of a batch. The values stand in batches' histories."""

    ACCEPTED = "accepted"
    UNARRIVED = "did not arrive"
    """It was certainly not taken: no connection, a ledger that is not ready, or a full queue."""
    REFUSED = "refused"
    """The ledger refuses the request for good."""
    UNCERTAIN = "may have arrived"
    """It may have arrived."""


@dataclass(frozen=True)
class PostAnswer:
    """The outcome of a POST.

    :ivar reason: The ledger's words, if it had any.
    :ivar is_of_this_batch: The failure may be this batch's alone: the next may be accepted.
    :ivar may_be_on_its_way: The batch may still reach the validator: no answer came, or one that the
        REST API gave without the validator.
    """

    outcome: Posted
    reason: str = ""
    is_of_this_batch: bool = False
    may_be_on_its_way: bool = False


@dataclass(frozen=True)
class StatusAnswer:
    """The status of one batch. `reason` is the ledger's, if the status is INVALID."""

    status: BatchStatus
    reason: str = ""


class LedgerClient:
    """Posts batches, and reads statuses and state.

    A REST API whose validator is dead or frozen hangs for minutes; each call ends long before.

    :param url: LEDGER_URL, without a trailing slash.
    :param response_timeout_s: Seconds that a call may take.
    """

    def __init__(
        self, url: str, *, tls_verify: bool, response_timeout_s: float = READ_TIMEOUT_S
    ) -> None:
        self._url = url
        self._http = PeerClient(NAME, tls_verify=tls_verify, response_timeout_s=response_timeout_s)

    def post(self, batch_list: bytes) -> PostAnswer:
        """Post a serialised BatchList. Errors of the ledger are outcomes, not exceptions."""
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
            return PostAnswer(Posted.UNCERTAIN, error.reason, may_be_on_its_way=True)
        if response.status_code == 202:
            return PostAnswer(Posted.ACCEPTED)
        code, reason = self._error_of(response)
        if code in _UNARRIVED_CODES and response.status_code in {429, 503}:
            return PostAnswer(Posted.UNARRIVED, reason)
        if code in _REFUSAL_CODES and response.status_code == 400:
            return PostAnswer(Posted.REFUSED, reason)
        is_about_request = _is_about_the_request(response)
        may_be_on_its_way = code in _STILL_SENT_CODES or (code is None and not is_about_request)
        return PostAnswer(Posted.UNCERTAIN, reason, is_about_request, may_be_on_its_way)

    def statuses(self, batch_ids: Sequence[str]) -> dict[str, StatusAnswer]:
        """Ask for the statuses of many batches in one call.

        :returns: statuses by batch id. A batch is missing if the ledger left it out, gave two
            statuses for it, or one that the contract does not know.
        :raises PeerError: the ledger can't say now.
        """
        url = f"{self._url}/batch_statuses"
        if len(batch_ids) <= MAX_STATUSES_BY_GET:
            response = self._http.request("GET", url, params={"id": ",".join(batch_ids)})
        else:
            response = self._http.post_json(url, list(batch_ids))
        if response.status_code in {400, 404} and self._error_of(response)[0] in _NO_BATCH_CODES:
            return self._statuses_by_halves(batch_ids)
        self._expect_ok(response)
        data = self._http.json_object(response).get("data")
        if not isinstance(data, list):
            raise PeerMisbehaved(NAME, "no list of batch statuses")
        return _statuses_in(data, frozenset(batch_ids))

    def _statuses_by_halves(self, batch_ids: Sequence[str]) -> dict[str, StatusAnswer]:
        """Ask by halves for the statuses of batches of which the ledger lacks at least one."""
        if len(batch_ids) <= 1:
            return {each: StatusAnswer(BatchStatus.UNKNOWN) for each in batch_ids}
        middle = len(batch_ids) // 2
        return self.statuses(batch_ids[:middle]) | self.statuses(batch_ids[middle:])

    def read_ggo(self, address: str) -> LedgerGgo | None:
        """Return the GGO at this address; None: nothing is there.

        :raises PeerError: the ledger can't say now, or what it has there is not a GGO.
        """
        return self._read(address, lambda state: _ggo_in(address, state))

    def read_settlement(self, address: str) -> LedgerSettlement | None:
        """Return the settlement at this address; None: nothing is there.

        :raises PeerError: the ledger can't say now, or what it has there is not a settlement.
        """
        return self._read(address, _settlement_in)

    def _read(self, address: str, parse: Callable[[Any], T]) -> T | None:
        response = self._http.request("GET", f"{self._url}/state/{address}")
        if response.status_code == 404 and self._error_of(response)[0] == _NOTHING_AT_ADDRESS:
            return None
        self._expect_ok(response)
        try:
            data = self._http.json_object(response)["data"]
            return parse(read_json(b64decode(data, validate=True)))
        except (KeyError, TypeError, ValueError, AttributeError, Base64Error) as error:
            raise PeerMisbehaved(NAME, f"not what is expected at {address}") from error

    def _expect_ok(self, response: PeerResponse) -> None:
        if response.status_code == 200:
            return
        _, reason = self._error_of(response)
        kind = PeerMisbehaved if _is_about_the_request(response) else PeerUnavailable
        raise kind(NAME, reason)

    def _error_of(self, response: PeerResponse) -> tuple[int | None, str]:
        """Return the error code, if there is one, and words for logs and the batch's row."""
        try:
            error = self._http.json_object(response)["error"]
            code = error["code"]
            words = f"{error.get('title')}: {error.get('message')}"
        except (PeerMisbehaved, KeyError, TypeError, AttributeError):
            LEDGER_ERRORS.labels("none").inc()
            return None, f"HTTP {response.status_code} without a Sawtooth error"
        reason = _storable(f"{code} {words}")
        # It may be anything that JSON has. A list, for one, cannot be looked up in a set.
        if not isinstance(code, int):
            LEDGER_ERRORS.labels("other").inc()
            return None, reason
        LEDGER_ERRORS.labels(str(code) if code in _KNOWN_CODES else "other").inc()
        return code, reason


def _is_about_the_request(response: PeerResponse) -> bool:
    """Whether the error is about this request alone. 408 (late) and 429 (full) are about the ledger."""
    return response.status_code < 500 and response.status_code not in {408, 429}


def _next_in(state: Any) -> LedgerNext | None:
    became = state["next"]
    if became is None:
        return None
    addresses = _of(list, became["addresses"])
    if not addresses:
        raise ValueError("next without addresses")
    return LedgerNext(_of(str, became["action"]), tuple(_of(str, address) for address in addresses))


def _settlement_in(state: Any) -> LedgerSettlement:
    parts = [(_of(str, part["ggo"]), _wh(part["amount"])) for part in _of(list, state["parts"])]
    amounts = dict(parts)
    if len(amounts) != len(parts):
        raise ValueError("a GGO that is settled twice")
    return LedgerSettlement(_of(str, state["measurement"]), amounts)


def _wh(value: Any) -> int:
    """Return a whole number; 7.0 is one, too, as JSON makes no difference."""
    return int(value) if type(value) is float and value.is_integer() else _of(int, value)


def _of(kind: type[T], value: Any) -> T:
    """Return the value, which must be of exactly this type: True is not a number.

    :raises TypeError: it is of another type.
    """
    if type(value) is not kind:
        raise TypeError(kind.__name__)
    return value


def _ggo_in(address: str, state: Any) -> LedgerGgo:
    return LedgerGgo(
        address=address,
        origin=_of(str, state["origin"]),
        amount=_wh(state["amount"]),
        begin=_time(state["begin"]),
        end=_time(state["end"]),
        sector=state["sector"],
        technology_code=state["tech_type"],
        fuel_code=state["fuel_type"],
        next=_next_in(state),
    )


def _time(text: str) -> datetime:
    """Parse ISO 8601. A time without an offset is UTC."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _storable(reason: str) -> str:
    """Return the ledger's words as PostgreSQL can store them: at most 1,000 characters, no NUL."""
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
