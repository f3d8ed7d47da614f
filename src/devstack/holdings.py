"""Reads what accounts hold from two sources: the service's API, and the ledger."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import Any, Self

import requests

from devstack.client import ApiClient, UnexpectedAnswerError

_HELD = frozenset({"issued", "received", "sent", "available", "retired"})
"""What a balance has when nothing is under way, expired or blocked."""


@dataclass(frozen=True, slots=True)
class Holding:
    """An account's amounts in Wh: issued, received and sent by transfer, stored, retired."""

    issued: int = 0
    received: int = 0
    sent: int = 0
    stored: int = 0
    retired: int = 0

    def __add__(self, other: Self) -> "Holding":
        return Holding(
            *(getattr(self, each.name) + getattr(other, each.name) for each in fields(Holding))
        )


def settled_wh(api: ApiClient) -> tuple[int, int]:
    """Return the stored and retired Wh of the GGOs that the API lists: those that are confirmed."""
    stored, retired = (
        sum(ggo["amount"] for ggo in api.ggos(category=category))
        for category in ("stored", "retired")
    )
    return stored, retired


def balance_of(api: ApiClient) -> Holding:
    """Return the account's balance by version 2; UnexpectedAnswerError if something is under way."""
    total = api.get("/v2/balances")["total"]
    held = Holding(
        **{name: total[name] for name in ("issued", "received", "sent", "retired")},
        stored=total["available"],
    )
    others = {name: wh for name, wh in total.items() if name not in _HELD and wh}
    if others:
        raise UnexpectedAnswerError(f"The balance also has {others}")
    return held


class Ledger:
    """Reads the state of a Sawtooth ledger (contract: peers, The ledger)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def record(self, address: str) -> dict[str, Any] | None:
        """Return the record at an address, or None."""
        answer = self._session.get(f"{self._url}/state/{address}", timeout=(5, 30))
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        if answer.status_code != HTTPStatus.OK:
            raise UnexpectedAnswerError(f"The ledger answers {answer.status_code}")
        content: dict[str, Any] = json.loads(base64.b64decode(answer.json()["data"]))
        return content


def holdings_on_ledger(apis: Mapping[str, ApiClient], ledger: Ledger) -> dict[str, Holding]:
    """Return each account's holding by the ledger's records; the API only tells whose a GGO is.

    Amounts, origins and what became of a GGO come from the ledger. A GGO whose origin belongs to
    another account was received by transfer. UnexpectedAnswerError if a GGO is not on the ledger.
    """
    owners = {ggo["address"]: name for name, api in apis.items() for ggo in api.ggos()}
    holdings = dict.fromkeys(apis, Holding())
    for address, owner in owners.items():
        record = ledger.record(address)
        if record is None:
            raise UnexpectedAnswerError(f"{owner} holds {address}, which is not on the ledger")
        wh = record["amount"]
        action = (record["next"] or {}).get("action")
        giver = owners.get(record["origin"])
        holdings[owner] += Holding(
            # The origin of an issued GGO is a measurement, which no account owns.
            issued=wh if giver is None else 0,
            received=wh if giver not in (None, owner) else 0,
            stored=wh if action is None else 0,
            retired=wh if action == "RETIRE" else 0,
        )
        if giver not in (None, owner):
            holdings[giver] += Holding(sent=wh)
    return holdings
