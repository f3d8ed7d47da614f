"""A market with a residual mix, and helpers that ask for declarations."""

from datetime import datetime
from typing import Any

from werkzeug.test import TestResponse

from tests.support.market import BEGIN, CONSUMPTION, Market


class Consumer(Market):
    """A market with a residual mix. Each test uses its own day."""

    def mix(self, *rows: tuple[datetime, str, float, dict[str, Any]], sector: str = "DK1") -> None:
        """Set the residual mix of these hours; no other hour has one."""
        self.sandbox.energytype.settings(generated=False)
        self.sandbox.energytype.set_rows(
            [
                {
                    "timestamp_utc": hour.isoformat(),
                    "sector": sector,
                    "technology": technology,
                    "amount": amount,
                    **more,
                }
                for hour, technology, amount, more in rows
            ]
        )

    def ask(
        self,
        begin: datetime | str = BEGIN,
        end: datetime | str | None = None,
        *,
        path: str = "/eco-declaration",
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> TestResponse:
        """Ask the API for a declaration of Alice's consumption, by the hour by default."""
        ends = {"begin": str(begin), "end": str(end or begin)}
        request = {
            "gsrn": [CONSUMPTION],
            "resolution": "hour",
            "beginRange": ends,
            "utcOffset": 0,
            **body,
        }
        return self.post(path, request, self.tokens["alice"], **(headers or {}))

    def declared(self, *ends: Any, **body: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the individual and the general declaration of a successful answer."""
        answer = self.ask(*ends, **body)
        assert answer.status_code == 200, answer.text
        assert answer.json["success"] is True
        return answer.json["individual"], answer.json["general"]
