"""Finds the fenced blocks of a Markdown page, and what is to be done with each."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devstack.processes import ROOT

RUNNABLE = frozenset({"sh", "bash", "python"})
SHOWN = frozenset({"json", "http", "text", "ini", "yaml", "mermaid", "sql", "toml"})
"""Languages of blocks that show something and can't be run."""

_NOT_RUN = "Not run here: "
_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`]*)$")
_SAVE_AS = re.compile(r"[Ss]ave (?:it|this) as `(?P<name>[\w.-]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the line number of its first line, its language, and its text.

    `reason` says why it isn't run (None: it is), `file` the name under which the reader saves it.
    """

    line: int
    language: str
    text: str
    reason: str | None = None
    file: str | None = None

    @property
    def is_run(self) -> bool:
        """Whether the runner executes the block, or saves it as a file that others use."""
        return self.language in RUNNABLE and self.reason is None


def pages() -> list[str]:
    """Return the paths of all documents, relative to the project."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("doc/**/*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return list(_blocks(page.read_text().splitlines()))


def _blocks(lines: list[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        number += 1
        if fence is None:
            continue
        begin = number
        while number < len(lines) and lines[number].strip() != fence["ticks"]:
            number += 1
        indent = len(fence["indent"])
        text = "".join(f"{line[indent:]}\n" for line in lines[begin:number])
        number += 1
        before = _line_before(lines, begin - 1)
        saved = _SAVE_AS.search(before)
        yield Block(
            line=begin + 1,
            language=fence["info"].strip(),
            text=text,
            reason=before.removeprefix(_NOT_RUN) if before.startswith(_NOT_RUN) else None,
            file=saved["name"] if saved else None,
        )


def _line_before(lines: list[str], fence: int) -> str:
    """Return the last line before a fence that isn't empty, without indentation."""
    filled = (line.strip() for line in reversed(lines[:fence]))
    return next((line for line in filled if line), "")
