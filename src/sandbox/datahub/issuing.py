"""The issuing body: registers metering points, publishes measurements, issues GGOs."""

import threading
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import Field

from sandbox.addresses import Kind
from sandbox.datahub.derivation import KeyProblemError, addresses_at
from sandbox.datahub.peers import IssuingBody
from sandbox.datahub.store import Bulk, Point, Store
from sandbox.datahub.webhooks import Dispatcher
from sandbox.datahub.wire import Body, Ggo, Measurement, MeteringPoint
from sandbox.times import UtcTime
from sandbox.web import RefusalError

EVENT_POINT = "on-meteringpoint-available"
EVENT_GGO = "on-ggo-issued"
LIFE_OF_A_GGO = timedelta(days=365)


class Sending(StrEnum):
    """How the webhooks about new objects are sent."""

    SEND = "send"
    HOLD = "hold"
    DOUBLE = "double"
    REVERSE = "reverse"
    NONE = "none"


class NewPoint(MeteringPoint):
    """A metering point to register for a user."""

    sub: str = Field(min_length=1)


class NewMeasurement(Body):
    """A measurement of `amount` Wh to publish; `end` is an hour after `begin` unless given."""

    gsrn: str
    begin: UtcTime
    end: UtcTime | None = None
    amount: int = Field(ge=0)


class Series(Body):
    """Adjacent measurements of `amounts` Wh, in periods of `seconds` each, in DataHub only."""

    gsrn: str
    begin: UtcTime
    seconds: int = Field(default=3600, ge=1)
    amounts: list[int]


class NewGgo(NewMeasurement):
    """A GGO to issue. Codes default to the metering point's, `issueTime` to now."""

    amount: int = Field(ge=1)
    technologyCode: str | None = None  # noqa: N815 (the wire's name)
    fuelCode: str | None = None  # noqa: N815 (the wire's name)
    emissions: dict[str, float] | None = None
    issueTime: UtcTime | None = None  # noqa: N815 (the wire's name)
    expireTime: UtcTime | None = None  # noqa: N815 (the wire's name)


class Points(Body):
    """Metering points to register."""

    meteringpoints: list[NewPoint]
    webhooks: Sending = Sending.SEND


class Measurements(Body):
    """Measurements to publish; `correct` replaces published ones, but not on the ledger."""

    measurements: list[NewMeasurement]
    correct: bool = False
    ledger: bool = True


class Ggos(Body):
    """GGOs to issue; without `ledger` they exist in DataHub only."""

    ggos: list[NewGgo]
    webhooks: Sending = Sending.SEND
    ledger: bool = True


class Office:
    """The issuing body. It carries out one order at a time; RefusalError says why it can't."""

    def __init__(self, store: Store, dispatcher: Dispatcher, ledger: IssuingBody | None) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._lock = threading.Lock()

    def register(self, order: Points) -> None:
        """Register metering points, and announce them to their users' subscribers."""
        with self._lock:
            for new in order.meteringpoints:
                self._store.add_point(new.sub, _shown(new))
            events = [
                (new.sub, {"sub": new.sub, "meteringpoint": _shown(new).as_json()})
                for new in order.meteringpoints
            ]
            self._announce(EVENT_POINT, events, order.webhooks)

    def publish(self, order: Measurements) -> list[Measurement]:
        """Publish measurements in DataHub and on the ledger, or correct those in DataHub."""
        with self._lock:
            made = [self._measured(new, correct=order.correct) for new in order.measurements]
            if order.ledger and not order.correct:
                self._on_ledger(made, [])
            self._store.put(made, [])
            return made

    def publish_series(self, order: Series) -> None:
        """Add a long series to DataHub; addresses are derived only when they are asked for."""
        self._store.point(order.gsrn)
        period = timedelta(seconds=order.seconds)
        begins = (order.begin + place * period for place in range(len(order.amounts)))
        self._store.put_series(
            order.gsrn,
            [
                Bulk(begin, begin + period, amount)
                for begin, amount in zip(begins, order.amounts, strict=True)
            ],
        )

    def issue(self, order: Ggos) -> list[Ggo]:
        """Issue GGOs, publish their measurements where needed, and announce the GGOs."""
        with self._lock:
            fresh: list[Measurement] = []
            ggos: list[Ggo] = []
            for new in order.ggos:
                known = self._store.measurement(new.gsrn, new.begin)
                measurement = known or self._measured(new, correct=False)
                if known is None:
                    fresh.append(measurement)
                ggos.append(self._issued(new, measurement))
            if order.ledger:
                self._on_ledger(fresh, ggos)
            self._store.put(fresh, ggos)
            events = [
                (sub, {"sub": sub, "ggo": ggo.as_json()})
                for ggo in ggos
                for sub in [self._store.point(ggo.gsrn).sub]
            ]
            self._announce(EVENT_GGO, events, order.webhooks)
            return ggos

    def _measured(self, new: NewMeasurement, *, correct: bool) -> Measurement:
        point = self._store.point(new.gsrn)
        known = self._store.measurement(new.gsrn, new.begin)
        if correct and known is None:
            raise RefusalError(409, f"Nothing to correct: {new.gsrn} at {new.begin.isoformat()}")
        if known is not None and not correct:
            raise RefusalError(409, f"Published already: {new.gsrn} at {new.begin.isoformat()}")
        return Measurement(
            address=_address(point, Kind.MEASUREMENT, new),
            gsrn=new.gsrn,
            begin=new.begin,
            end=new.end or new.begin + timedelta(hours=1),
            type=point.shown.type,
            sector=point.shown.sector,
            amount=new.amount,
        )

    def _issued(self, new: NewGgo, measurement: Measurement) -> Ggo:
        point = self._store.point(new.gsrn)
        technology = new.technologyCode or point.shown.technologyCode
        fuel = new.fuelCode or point.shown.fuelCode
        if point.shown.type != "production":
            raise RefusalError(409, f"Metering point {new.gsrn} produces nothing")
        if technology is None or fuel is None:
            raise RefusalError(409, f"Metering point {new.gsrn} has no technology or fuel code")
        if self._store.ggo(new.gsrn, new.begin) is not None:
            raise RefusalError(409, f"Issued already: {new.gsrn} at {new.begin.isoformat()}")
        if measurement.amount != new.amount:
            raise RefusalError(409, f"{measurement.amount} Wh were measured, not {new.amount}")
        issued = new.issueTime or datetime.now(UTC)
        return Ggo(
            address=_address(point, Kind.GGO, new),
            gsrn=new.gsrn,
            begin=measurement.begin,
            end=measurement.end,
            sector=measurement.sector,
            amount=new.amount,
            issueTime=issued,
            expireTime=new.expireTime or issued + LIFE_OF_A_GGO,
            technologyCode=technology,
            fuelCode=fuel,
            emissions=new.emissions,
        )

    def _on_ledger(self, measurements: list[Measurement], ggos: list[Ggo]) -> None:
        if self._ledger is None:
            return
        if measurements:
            self._ledger.publish([_as_publication(one) for one in measurements])
        if ggos:
            self._ledger.issue([self._as_issue(one) for one in ggos])

    def _as_issue(self, ggo: Ggo) -> dict[str, Any]:
        point = self._store.point(ggo.gsrn)
        return {
            "measurement_address": _key_addresses(point, ggo.begin)[Kind.MEASUREMENT],
            "ggo_address": ggo.address,
            "tech_type": ggo.technologyCode,
            "fuel_type": ggo.fuelCode,
            "emissions": ggo.emissions,
        }

    def _announce(self, event: str, bodies: list[tuple[str, Any]], sending: Sending) -> None:
        if sending is Sending.NONE:
            return
        ordered = bodies[::-1] if sending is Sending.REVERSE else bodies
        for sub, body in ordered:
            for url, secret in self._store.subscribers(sub, event):
                for _ in range(2 if sending is Sending.DOUBLE else 1):
                    self._dispatcher.send(
                        event, sub, url, secret, body, hold=sending is Sending.HOLD
                    )


def _shown(new: NewPoint) -> MeteringPoint:
    return MeteringPoint(**new.model_dump(exclude={"sub"}))


def _address(point: Point, kind: Kind, new: NewMeasurement) -> str:
    return _key_addresses(point, new.begin)[kind]


def _key_addresses(point: Point, begin: datetime) -> dict[Kind, str]:
    if point.key is None:
        raise RefusalError(
            409, f"No key has come for metering point {point.shown.gsrn} yet (set-key)"
        )
    try:
        return addresses_at(point.key, begin)
    except KeyProblemError as error:
        raise RefusalError(400, str(error)) from error


def _as_publication(measurement: Measurement) -> dict[str, Any]:
    shown = measurement.as_json()
    del shown["gsrn"]
    return {**shown, "type": measurement.type.upper()}
