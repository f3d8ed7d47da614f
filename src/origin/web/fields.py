"""Fields of requests (contract: http-api, Conventions)."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from marshmallow import ValidationError, fields, validate

from origin.shared.limits import MAX_TEXT_BYTES, MAX_WH

MAX_TEXT_LENGTH = MAX_TEXT_BYTES
MAX_REFERENCE_LENGTH = 1000
MAX_REFERENCE_BYTES = 2000
"""More than `MAX_TEXT_BYTES`: the indexes of references have no other texts beside them."""

_NOT_A_TIME = "Not a valid datetime."
_DATE_LENGTH = len("2020-01-01")


class Text(fields.String):
    """A string that PostgreSQL can store: no NUL, bounded length.

    :param max_length: In characters.
    :param max_bytes: In UTF-8; None: the same number as `max_length`.
    """

    def __init__(
        self,
        *,
        max_length: int = MAX_TEXT_LENGTH,
        max_bytes: int | None = None,
        **arguments: Any,
    ) -> None:
        given = arguments.pop("validate", [])
        own = list(given) if isinstance(given, list | tuple) else [given]
        checks = [_FewBytes(max_bytes or max_length), *own]
        super().__init__(validate=[validate.Length(max=max_length), _no_nul, *checks], **arguments)
        self._max_length = max_length
        self._checks = checks

    def deserialize(
        self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any
    ) -> Any:
        """Return a valid value at once; marshmallow handles the rest, and words the errors."""
        if type(value) is str and len(value) <= self._max_length and "\0" not in value:
            for check in self._checks:
                if not _holds(check, value):
                    break
            else:
                return value
        return super().deserialize(value, attr, data, **kwargs)


def _holds(check: Callable[[Any], Any], value: Any) -> bool:
    try:
        check(value)
    except ValidationError:
        return False
    return True


class Reference(Text):
    """The name that a sender gives to a transfer or a forecast."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(
            max_length=MAX_REFERENCE_LENGTH, max_bytes=MAX_REFERENCE_BYTES, **arguments
        )


class _FewBytes:
    """Validator: at most this many bytes in UTF-8."""

    def __init__(self, most: int) -> None:
        self._most = most

    def __call__(self, value: str) -> None:
        if not value.isascii() and len(value.encode(errors="replace")) > self._most:
            raise ValidationError(f"Longer than {self._most} bytes in UTF-8.")


def _no_nul(value: str) -> None:
    if "\0" in value:
        raise ValidationError("NUL characters are not allowed.")


class WholeNumber(fields.Integer):
    """A whole number within two bounds, both included. Accepts `int` alone, as `read_json` makes it."""

    def __init__(self, *, least: int, most: int = MAX_WH, **arguments: Any) -> None:
        bounds = [validate.Range(min=least), validate.Range(max=most)]
        super().__init__(strict=True, validate=bounds, **arguments)
        self._least, self._most = least, most

    def deserialize(
        self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any
    ) -> Any:
        """Return a valid value at once; marshmallow handles the rest."""
        if type(value) is int and self._least <= value <= self._most:
            return value
        return super().deserialize(value, attr, data, **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> int:
        del attr, data, kwargs
        if type(value) is not int:
            raise self.make_error("invalid", input=value)
        return value


class Time(fields.Field[datetime]):
    """A time in ISO 8601, with `T` or a space. A time without an offset stays naive: see `in_utc`."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> datetime:
        del attr, data, kwargs
        if not isinstance(value, str) or len(value) <= _DATE_LENGTH:
            raise ValidationError(_NOT_A_TIME)
        try:
            time = datetime.fromisoformat(value)
            if time.tzinfo is not UTC:
                # Checks that the time exists in UTC, so that the database can hold it.
                in_utc(time)
        except (ValueError, OverflowError) as error:
            raise ValidationError(_NOT_A_TIME) from error
        return time


def in_utc(time: datetime, zone: tzinfo = UTC) -> datetime:
    """Return the time in UTC. A naive time is taken as local time of this zone."""
    if time.tzinfo is UTC:
        return time
    return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
