"""The demo's scenario: two people with metering points, and some days of their electricity."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from devstack.holdings import Holding
from origin.web.described import A_CONSUMPTION_GSRN, A_PRODUCTION_GSRN

HOURS_PER_DAY = 24
DAYS = 3
_SECTOR = "DK1"
_WIND = {"technologyCode": "T020001", "fuelCode": "F01050100"}
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Person:
    """A user: `subject` at Hydra, with a consumption point and perhaps a production point."""

    name: str
    subject: str
    consumption_gsrn: str
    production_gsrn: str | None = None

    def points(self) -> list[dict[str, Any]]:
        """Return the metering points in the form that DataHub registers."""
        common = {"sub": self.subject, "sector": _SECTOR}
        consumption = {**common, "gsrn": self.consumption_gsrn, "type": "consumption"}
        if self.production_gsrn is None:
            return [consumption]
        production = {**common, **_WIND, "gsrn": self.production_gsrn, "type": "production"}
        return [production, consumption]


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of the scenario; amounts in Wh."""

    begin: datetime
    produced: int
    anna_used: int
    bo_used: int


@dataclass(frozen=True, slots=True)
class Order:
    """A compose of one hour's GGO: the Wh to sell to the other person, and the Wh to retire."""

    begin: datetime
    sold: int = 0
    retired: int = 0


class Scenario:
    """Anna has a wind turbine and a house, Bo has a house; Bo buys wind power from Anna.

    Subjects and GSRNs are new for each instance, so that a database can be used repeatedly; or, in a
    new database, those of the examples in the API's description (`origin.web.described`). The hours
    are those of the last full days (UTC).
    """

    def __init__(self, *, in_new_database: bool = False) -> None:
        run = secrets.token_hex(3)
        self.anna = Person("Anna", f"anna-{run}", _gsrn(), _gsrn())
        self.bo = Person("Bo", f"bo-{run}", _gsrn())
        if in_new_database:
            self.anna = Person("Anna", "anna", A_CONSUMPTION_GSRN, A_PRODUCTION_GSRN)
            self.bo = Person("Bo", "bo", _gsrn())
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        first = midnight - timedelta(days=DAYS)
        self.hours = [_hour(first, number) for number in range(DAYS * HOURS_PER_DAY)]

    @property
    def people(self) -> tuple[Person, Person]:
        """Anna and Bo."""
        return (self.anna, self.bo)

    def measurements(self) -> list[dict[str, Any]]:
        """Return the consumption of both houses, in the form that DataHub publishes."""
        return [
            {"gsrn": gsrn, "begin": hour.begin, "amount": used}
            for hour in self.hours
            for gsrn, used in (
                (self.anna.consumption_gsrn, hour.anna_used),
                (self.bo.consumption_gsrn, hour.bo_used),
            )
        ]

    def ggos(self) -> list[dict[str, Any]]:
        """Return the GGOs for the turbine's production, in the form that DataHub issues."""
        return [
            {
                "gsrn": self.anna.production_gsrn,
                "begin": hour.begin,
                "amount": hour.produced,
                "emissions": {"CO2": 0.0},
            }
            for hour in self.hours
        ]

    def annas_orders(self) -> Iterator[Order]:
        """Yield Anna's orders.

        On day one she retires what her house used, and sells Bo what his house used. On day two she
        sells everything. On day three she does nothing.
        """
        for number, hour in enumerate(self.hours):
            if number < HOURS_PER_DAY:
                yield Order(hour.begin, sold=hour.bo_used, retired=hour.anna_used)
            elif number < 2 * HOURS_PER_DAY:
                yield Order(hour.begin, sold=hour.produced)

    def bos_orders(self) -> Iterator[Order]:
        """Yield Bo's orders: on days one and two he retires what his house used.

        That is all that he bought on day one, and a part of what he bought on day two.
        """
        for hour in self.hours[: 2 * HOURS_PER_DAY]:
            yield Order(hour.begin, retired=hour.bo_used)

    def bos_bulk_order(self) -> dict[str, Any]:
        """Return the body of Bo's bulk transfer: half of what he has left of day two goes to Anna."""
        begin, end = (self.hours[day * HOURS_PER_DAY].begin.date() for day in (1, 2))
        return {
            "select": {"period": {"from": begin.isoformat(), "to": end.isoformat()}},
            "targets": [
                {
                    "account": self.anna.subject,
                    "reference": "surplus",
                    "take": {"percentage": "50"},
                }
            ],
        }

    def before(self) -> dict[str, Holding]:
        """Return the expected holdings after issuing."""
        produced = sum(hour.produced for hour in self.hours)
        return {"Anna": Holding(issued=produced, stored=produced), "Bo": Holding()}

    def sold(self) -> dict[str, Holding]:
        """Return the expected holdings after Anna's orders."""
        orders = list(self.annas_orders())
        sold, retired = (
            sum(getattr(order, what) for order in orders) for what in ("sold", "retired")
        )
        anna = self.before()["Anna"]
        return {
            "Anna": anna + Holding(sent=sold, stored=-sold - retired, retired=retired),
            "Bo": Holding(received=sold, stored=sold),
        }

    def retired(self) -> dict[str, Holding]:
        """Return the expected holdings after Bo's orders."""
        retired = sum(order.retired for order in self.bos_orders())
        sold = self.sold()
        return {**sold, "Bo": sold["Bo"] + Holding(stored=-retired, retired=retired)}

    def given_back(self) -> int:
        """Return the Wh of Bo's bulk transfer: half of each GGO, rounded down."""
        day_two = self.hours[HOURS_PER_DAY : 2 * HOURS_PER_DAY]
        return sum((hour.produced - hour.bo_used) // 2 for hour in day_two)

    def after(self) -> dict[str, Holding]:
        """Return the expected holdings after Bo's bulk transfer."""
        back, held = self.given_back(), self.retired()
        return {
            "Anna": held["Anna"] + Holding(received=back, stored=back),
            "Bo": held["Bo"] + Holding(sent=back, stored=-back),
        }


def _hour(first: datetime, number: int) -> Hour:
    """Return an hour with varying wind, and less consumption at night; the wind is always enough."""
    of_day = number % HOURS_PER_DAY
    awake = 6 <= of_day <= 22
    return Hour(
        begin=first + number * _HOUR,
        produced=4_000 + 137 * (number * 7 % 23),
        anna_used=(900 if awake else 250) + 11 * (number % 5),
        bo_used=(1_300 if awake else 400) + 13 * (number % 7),
    )


def _gsrn() -> str:
    """Return a random Danish GSRN: 18 digits that begin with 5713131."""
    return "5713131" + "".join(str(secrets.randbelow(10)) for _ in range(11))
