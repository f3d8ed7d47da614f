"""Messages of errors, and their bounded length (contract: http-api, top)."""

from typing import Any, Self

import orjson

Message = str | dict[str, Any]
"""A sentence, or an object of messages by wire name (contract: http-api, Conventions)."""

MAX_MESSAGE_BYTES = 64 * 1024
_ROOM_BYTES = MAX_MESSAGE_BYTES * 3 // 4
"""The budget of a shortened message. The other quarter is for brackets and the last text."""
_MAX_TEXT_LENGTH = 300


class CodedText(str):
    """A message of a schema with a code of its own, which version 2 tells beside it."""

    __slots__ = ("code",)

    code: str

    def __new__(cls, text: str, code: str) -> Self:
        """Return the text with its code.

        :param code: In snake case.
        """
        made = super().__new__(cls, text)
        made.code = code
        return made


def shortened(message: Message) -> Message:
    """Return the message if its JSON is short enough, else its first errors with their texts cut."""
    if len(as_json(message)) <= _ROOM_BYTES:
        return message
    cut_message: Message = _Shortening().of(message)
    return cut_message


def cut(text: object) -> str:
    """Return this text, shortened if it is long."""
    whole = str(text)
    return whole if len(whole) <= _MAX_TEXT_LENGTH else whole[:_MAX_TEXT_LENGTH] + "…"


def as_json(value: Any) -> bytes:
    """Return the value as JSON. Schemas name list items by number; JSON needs strings."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


class _Shortening:
    """One pass over a message, with the bytes that are left."""

    def __init__(self) -> None:
        self._left = _ROOM_BYTES

    def of(self, part: Any) -> Any:
        if isinstance(part, dict):
            kept = {}
            for name, value in part.items():
                if self._left <= 0:
                    break
                kept[self._text(name)] = self.of(value)
            return kept
        if isinstance(part, list):
            texts = []
            for value in part:
                if self._left <= 0:
                    break
                texts.append(self.of(value))
            return texts
        return self._text(part)

    def _text(self, value: object) -> str:
        text = cut(value)
        # Room for quotes, brackets and commas too.
        self._left -= len(orjson.dumps(text)) + 4
        return text
