"""The base of all schemas of requests and responses."""

from itertools import islice
from typing import Any

from marshmallow import Schema as MarshmallowSchema
from marshmallow import fields, pre_load

from origin.web.described import described

MAX_UNKNOWN = 20
"""The most unknown fields of an object that an error names."""


class Schema(MarshmallowSchema):
    """A request or a response.

    Unknown fields are errors. Null means absent for every field that is not required.
    """

    @pre_load
    def _prepare(self, data: Any, **_: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return self._null_means_absent(self._with_few_unknown(data))

    def _with_few_unknown(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data with at most MAX_UNKNOWN unknown fields: a body may have 100,000."""
        if len(data) <= len(self.load_fields) + MAX_UNKNOWN:
            return data
        known = {field.data_key or name for name, field in self.load_fields.items()}
        unknown = islice((name for name in data if name not in known), MAX_UNKNOWN)
        return {name: data[name] for name in (*filter(data.__contains__, known), *unknown)}

    def _null_means_absent(self, data: dict[str, Any]) -> dict[str, Any]:
        if None not in data.values():
            return data
        optional = {
            field.data_key or name for name, field in self.load_fields.items() if not field.required
        }
        return {
            name: value for name, value in data.items() if value is not None or name not in optional
        }


class SuccessResponse(Schema):
    """The base of all responses: each has `success`."""

    success = fields.Boolean(metadata=described("Whether it was done", example=True))
