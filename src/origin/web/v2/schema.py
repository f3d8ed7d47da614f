"""Bodies and queries of version 2: their bases and their fields (contract: v2, Conventions)."""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from marshmallow import ValidationError, fields, post_load

from origin.errors import OriginError
from origin.shared.periods import EARLIEST, LATEST, Period, day_begin
from origin.web.collections import Items
from origin.web.described import described
from origin.web.fields import Time, WholeNumber, in_utc
from origin.web.local_time import Zone
from origin.web.messages import CodedText
from origin.web.schema import Schema

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_PERCENTAGE = re.compile(r"(0|[1-9][0-9]{0,2})([.][0-9]{1,5})?")
UTC_ZONE = ZoneInfo("UTC")
"""The zone of dates that no zone is named for."""

_FROM = described(
    "When the period begins: a date, whose midnight in `timeZone` counts, or a time with an offset",
    "2026-01-01",
)
_TO = described(
    "When the period ends, itself not included: a date if `from` is a date, else a time",
    "2026-02-01",
)
_TIME_ZONE = described("The IANA time zone of the dates; UTC if absent", "Europe/Copenhagen")


class AwareTime(Time):
    """A time in ISO 8601 with an offset; loads in UTC."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> datetime:
        time = super()._deserialize(value, attr, data, **kwargs)
        if time.tzinfo is None:
            raise ValidationError("A time needs an offset.")
        return in_utc(time)


class DateOrTime(fields.String):
    """One end of a period; loads as a `date`, or as a `datetime` in UTC."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        if not isinstance(value, str) or not _DATE.fullmatch(value):
            return AwareTime().deserialize(value, attr, data, **kwargs)
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValidationError("Not a valid date.") from None


class Percentage(fields.String):
    """A percentage as a text, above 0 and at most 100, of at most five decimals; loads as `Decimal`."""

    def __init__(self, *, metadata: Mapping[str, Any], **named: Any) -> None:
        pattern = f"^{_PERCENTAGE.pattern}$"
        super().__init__(metadata={**metadata, "pattern": pattern}, **named)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not _PERCENTAGE.fullmatch(text):
            raise ValidationError("Not a percentage of at most five decimals.")
        if not 0 < Decimal(text) <= 100:
            raise ValidationError("Must be greater than 0 and less than or equal to 100.")
        return Decimal(text)


class LimitedItems(Items):
    """A list whose length has an error of its own, which is raised before any other is told.

    :param beyond: Makes that error from the number of items, if there are more than `most`.
    """

    def __init__(
        self,
        item: fields.Field[Any],
        *,
        most: int,
        beyond: Callable[[int], OriginError],
        **named: Any,
    ) -> None:
        super().__init__(item, most=most, **named)
        self._most, self._beyond = most, beyond

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[Any]:
        if isinstance(value, list) and len(value) > self._most:
            raise self._beyond(len(value))
        return super()._deserialize(value, attr, data, **kwargs)


class QueryNumber(WholeNumber):
    """A whole number in a query."""

    def deserialize(
        self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any
    ) -> Any:
        """Return the number that the text names."""
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        return super().deserialize(value, attr, data, **kwargs)


class CommaList(Items):
    """A list in a query: `a,b`. Doubled values count once; an empty text is an empty list."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[Any]:
        texts = list(dict.fromkeys(value.split(","))) if value else []
        if "" in texts:
            raise ValidationError("Not a list of values with commas between them.")
        return super()._deserialize(texts, attr, data, **kwargs)


class Body(Schema):
    """A body of version 2, or an object in one. Null means absent, for required members too."""

    def _null_means_absent(self, data: dict[str, Any]) -> dict[str, Any]:
        known = {field.data_key or name for name, field in self.load_fields.items()}
        return {
            name: value for name, value in data.items() if value is not None or name not in known
        }


class PeriodBody(Body):
    """A period in a body; loads as a `Period`."""

    begin = DateOrTime(data_key="from", required=True, metadata=_FROM)
    end = DateOrTime(data_key="to", required=True, metadata=_TO)
    zone = Zone(data_key="timeZone", load_default=UTC_ZONE, metadata=_TIME_ZONE)

    @post_load
    def _as_period(self, data: dict[str, Any], **_: Any) -> Period:
        return _period(data)


class Query(Schema):
    """The parameters of a query, whose values are texts."""

    error_messages = {"unknown": "Unknown parameter."}  # noqa: RUF012 - marshmallow's attribute


class ListQuery(Query):
    """The parameters of a list. `origin.web.v2.pages` reads them; further fields are filters."""

    limit = QueryNumber(
        least=1,
        most=MAX_LIMIT,
        load_default=DEFAULT_LIMIT,
        metadata=described("How many at most", DEFAULT_LIMIT),
    )
    cursor = fields.String(
        load_default="",
        metadata=described("Empty to begin, then the `nextCursor` of the page before", ""),
    )


class PeriodQuery(Query):
    """A period in a query; loads as `period`. An end that is absent leaves it open there."""

    begin = DateOrTime(data_key="from", metadata=_FROM)
    end = DateOrTime(data_key="to", metadata=_TO)
    zone = Zone(data_key="timeZone", load_default=UTC_ZONE, metadata=_TIME_ZONE)

    @post_load
    def _with_period(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        period = _period(data)
        others = {name: data[name] for name in data.keys() - {"begin", "end", "zone"}}
        return {**others, "period": period}


class FullPeriodQuery(PeriodQuery):
    """A period in a query, with both ends."""

    begin = DateOrTime(data_key="from", required=True, metadata=_FROM)
    end = DateOrTime(data_key="to", required=True, metadata=_TO)


def _period(data: Mapping[str, Any]) -> Period:
    """Return the period of these ends.

    :raises ValidationError: One is a date and the other a time, or the end is before the begin.
    """
    zone = data["zone"]
    ends = [each for each in (data.get("begin"), data.get("end")) if each is not None]
    if len({type(each) for each in ends}) > 1:
        raise ValidationError({"to": ["from and to must both be dates or both be times."]})
    begin = _instant(data, "begin", "from", EARLIEST)
    end = _instant(data, "end", "to", LATEST)
    if end < begin:
        raise ValidationError({"to": [CodedText("Must not be before from.", "out_of_range")]})
    return Period(begin, end, zone)


def _instant(data: Mapping[str, Any], name: str, wire_name: str, default: datetime) -> datetime:
    given = data.get(name)
    if given is None:
        return default
    if isinstance(given, datetime):
        return given
    try:
        return day_begin(given, data["zone"])
    except OverflowError:
        raise ValidationError({wire_name: ["Not a valid date."]}) from None
