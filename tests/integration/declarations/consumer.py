"""Alice, who consumes, retires, and asks what it came from."""

from datetime import datetime
from typing import Any

from werkzeug.test import TestResponse

from tests.support.market import BEGIN, CONSUMPTION, Market


class Consumer(Market):
    """A market with a residual mix. Each test takes a day of its own."""

    def mix(self, *rows: tuple[datetime, str, float, dict[str, Any]], sector: str = "DK1") -> None:
        """Let the residual mix of these hours be this, and no other hour have any."""
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
        """A declaration by the API; hourly unless told otherwise."""
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
        """The individual and the general declaration."""
        answer = self.ask(*ends, **body)
        assert answer.status_code == 200, answer.text
        assert answer.json["success"] is True
        return answer.json["individual"], answer.json["general"]
