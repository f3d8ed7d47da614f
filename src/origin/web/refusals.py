"""What a refused request is told, and how much of it (contract: http-api, top)."""

from typing import Any

import orjson

from origin.errors import Message

MAX_REFUSAL_BYTES = 64 * 1024
_ROOM_BYTES = MAX_REFUSAL_BYTES * 3 // 4
"""For what is told of a message that is too long: brackets, and the last text, come on top."""
_MAX_TEXT_LENGTH = 300


def shortened(message: Message) -> Message:
    """The message itself where its JSON is short enough, else its first errors, with texts cut."""
    if len(as_json(message)) <= _ROOM_BYTES:
        return message
    cut: Message = _Shortening().of(message)
    return cut


def as_json(value: Any) -> bytes:
    """As JSON; a schema's complaint names list items by number, which become JSON's strings."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


class _Shortening:
    """One pass over a message, with the room that is left."""

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
        text = str(value)
        if len(text) > _MAX_TEXT_LENGTH:
            text = text[:_MAX_TEXT_LENGTH] + "…"
        # Brackets and commas as well.
        self._left -= len(orjson.dumps(text)) + 4
        return text
