"""Lists and mappings in requests: their length is checked before their items."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

MAX_ERRORS = 50
"""The most wrong items of a list that an error names. The items after them are not read."""


class Items(fields.List[Any]):
    """A list of `least` to `most` items."""

    def __init__(self, item: fields.Field[Any], *, most: int, least: int = 0, **named: Any) -> None:
        self._length = validate.Length(min=least or None, max=most)
        # Also given to marshmallow, for the OpenAPI document.
        super().__init__(item, validate=self._length, **named)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[Any]:
        del attr, data
        if not isinstance(value, list):
            raise self.make_error("invalid")
        self._length(value)
        read, errors = [], {}
        for place, item in enumerate(value):
            try:
                read.append(self.inner.deserialize(item, **kwargs))
            except ValidationError as error:
                errors[place] = error.messages
                if len(errors) == MAX_ERRORS:
                    break
        if errors:
            raise ValidationError(errors)
        return read


class Entries(fields.Dict):
    """A mapping of at most `most` entries."""

    def __init__(self, *, most: int, **named: Any) -> None:
        self._length = validate.Length(max=most)
        super().__init__(validate=self._length, **named)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        if isinstance(value, Mapping):
            self._length(value)
        found: Any = super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call] # it has no types
        return found
