"""A client for DataHub's control calls."""

from datetime import datetime
from typing import Any

from sandbox.clients.base import Control, Json, with_times


class DataHubClient(Control):
    """Acts as the issuing body at DataHub, and reads keys and webhooks."""

    def add_meteringpoint(
        self,
        sub: str,
        gsrn: str,
        kind: str,
        sector: str = "DK1",
        *,
        webhooks: str = "send",
        **fields: str | None,
    ) -> None:
        """Register a metering point (`kind`: production or consumption) and announce it."""
        point = {"sub": sub, "gsrn": gsrn, "type": kind, "sector": sector, **fields}
        self.add_meteringpoints([point], webhooks=webhooks)

    def add_meteringpoints(self, points: list[Json], *, webhooks: str = "send") -> None:
        """Register metering points; `webhooks` is send, hold, double, reverse or none."""
        self._post("meteringpoints", {"meteringpoints": points, "webhooks": webhooks})

    def publish(
        self, gsrn: str, begin: datetime, amount: int, *, end: datetime | None = None
    ) -> Json:
        """Publish a measurement, also on the ledger. Its metering point must have a key."""
        return self.publish_many([{"gsrn": gsrn, "begin": begin, "end": end, "amount": amount}])[0]

    def publish_many(
        self, measurements: list[Json], *, correct: bool = False, ledger: bool = True
    ) -> list[Json]:
        """Publish measurements (gsrn, begin, end?, amount).

        `correct` replaces published measurements in DataHub, but not on the ledger.
        """
        body = {
            "measurements": [with_times(one) for one in measurements],
            "correct": correct,
            "ledger": ledger,
        }
        return list(self._post("measurements", body)["measurements"])

    def publish_series(
        self, gsrn: str, begin: datetime, amounts: list[int], *, seconds: int = 3600
    ) -> None:
        """Add a long series of measurements to DataHub, but not to the ledger."""
        body = {"gsrn": gsrn, "begin": begin.isoformat(), "amounts": amounts, "seconds": seconds}
        self._post("series", body)

    def issue(
        self, gsrn: str, begin: datetime, amount: int, *, webhooks: str = "send", **fields: Any
    ) -> Json:
        """Issue a GGO and announce it; return it. See issue_many."""
        one = {"gsrn": gsrn, "begin": begin, "amount": amount, **fields}
        return self.issue_many([one], webhooks=webhooks)[0]

    def issue_many(
        self, ggos: list[Json], *, webhooks: str = "send", ledger: bool = True
    ) -> list[Json]:
        """Issue GGOs in this order, with their measurements, also on the ledger.

        Each has gsrn, begin and amount, and optionally end, technologyCode, fuelCode, emissions
        (g/Wh), issueTime, expireTime. `webhooks` is send, hold, double, reverse or none.
        """
        body = {"ggos": [with_times(one) for one in ggos], "webhooks": webhooks, "ledger": ledger}
        return list(self._post("ggos", body)["ggos"])

    def keys(self, *gsrns: str, wait: float = 0) -> dict[str, str | None]:
        """Return the key of each metering point (no GSRNs: of all); wait up to `wait` s for them."""
        found = self._get("keys", gsrn=",".join(gsrns), wait=wait)["keys"]
        return {one["gsrn"]: one["key"] for one in found}

    def key_calls(self, gsrn: str) -> list[Json]:
        """Return every call that set a metering point's key."""
        found = self._get("keys")["keys"]
        return next((list(one["calls"]) for one in found if one["gsrn"] == gsrn), [])

    def subscriptions(self, *, count: int = 0, wait: float = 0) -> list[Json]:
        """Return sub, event and url of each subscription; wait up to `wait` s for `count` of them."""
        return list(self._get("subscriptions", count=count, wait=wait)["subscriptions"])

    def deliveries(self, *, wait: float = 0) -> list[Json]:
        """Return all webhooks with their attempts; wait up to `wait` s until none is pending."""
        return list(self._get("deliveries", wait=wait)["deliveries"])

    def release(self, order: str = "arrival") -> int:
        """Send the held webhooks; `order` is arrival, reverse or shuffle. Return how many."""
        return int(self._post("deliveries/release", {"order": order})["deliveries"])

    def retry_now(self) -> int:
        """Retry all waiting webhooks now. Return how many."""
        return int(self._post("deliveries/retry")["deliveries"])

    def repeat(self, *ids: str) -> int:
        """Send finished webhooks once more (no ids: all). Return how many."""
        return int(self._post("deliveries/repeat", {"ids": list(ids)})["deliveries"])

    def send(
        self, sub: str, event: str, body: Any, *, url: str | None = None, secret: str | None = None
    ) -> None:
        """Send any body as a webhook to the user's subscribers, or to `url` if given."""
        wish = {"sub": sub, "event": event, "body": body, "url": url, "secret": secret}
        self._post("webhooks", wish)

    def settings(
        self,
        *,
        page_limit: int | None = None,
        row_seconds: float | None = None,
        retry_interval: float | None = None,
        signing: str | None = None,
    ) -> Json:
        """Change settings; None leaves one as it is.

        `page_limit`: rows per page. `row_seconds`: seconds spent on each row. `retry_interval`:
        seconds between attempts of a webhook. `signing` is right, wrong or missing.
        """
        wish = {
            "page_limit": page_limit,
            "row_seconds": row_seconds,
            "retry_interval": retry_interval,
            "signing": signing,
        }
        return self._post("settings", wish)
