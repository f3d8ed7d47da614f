"""Runs the blocks of a document as a reader would: in order, in one shell and one Python."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.document_blocks import Block

_SECONDS_PER_BLOCK = 90.0
"""Most blocks take seconds. On a busy machine, each command in a block may take some."""
_DONE = "block is done"
_TIME = re.compile(r"\d{4}-\d\d")
_PYTHON_BLOCKS = Path(__file__).with_name("python_blocks.py")


class BlockFailed(AssertionError):
    """A block of a document failed; the message has the block and its output."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a block has written to standard output and standard error."""

    output: str
    errors: str


class PageSession:
    """One shell and one Python for the blocks of one page.

    A shell block fails as soon as one of its commands does. Python blocks see the variables that the
    shell has exported. What a block starts in the background is killed at the end.

    `folder`: where the blocks run. `environment`: all their variables. `ports`: documented ports and
    those to use instead; nothing else of a block is changed.
    """

    def __init__(
        self, page: str, folder: Path, environment: Mapping[str, str], ports: Mapping[int, int]
    ) -> None:
        self._page = page
        self._folder = folder
        self._environment = dict(environment)
        self._ports = {str(port): str(other) for port, other in ports.items()}
        self._logs = folder / ".blocks"
        self._logs.mkdir()
        self._shell = self._child(["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-s"])
        self._python: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in (self._shell, self._python):
            if child is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.communicate()

    def run(self, block: Block) -> Result:
        """Run a block, or save it if its reader does so; BlockFailed if it fails."""
        text = self._with_ports(block.text)
        if block.file is not None:
            (self._folder / block.file).write_text(text)
            return Result("", "")
        if block.language == "python":
            return self._run_python(block, text)
        return self._run_in_shell(block.line, text)

    def _run_in_shell(self, line: int, text: str) -> Result:
        script = self._logs / f"{line}.sh"
        script.write_text(text)
        output, errors = self._outputs(line)
        command = f". '{script}' >'{output}' 2>'{errors}' </dev/null\necho {_DONE}\n"
        if self._answer(self._shell, command) != _DONE:
            raise self._failed(line, text)
        return self._result(line)

    def _run_python(self, block: Block, text: str) -> Result:
        if self._python is None:
            self._python = self._child([sys.executable, str(_PYTHON_BLOCKS)])
        variables = self._run_in_shell(0, "env -0\n").output.split("\0")
        output, errors = self._outputs(block.line)
        wish = {
            # Empty lines before it, so that a traceback has the page's line numbers.
            "code": "\n" * (block.line - 1) + text,
            "name": self._page,
            "environment": dict(each.split("=", 1) for each in variables if each),
            "folder": str(self._folder),
            "output": str(output),
            "errors": str(errors),
        }
        if self._answer(self._python, json.dumps(wish) + "\n") != "true":
            raise self._failed(block.line, text)
        return self._result(block.line)

    def _answer(self, child: "subprocess.Popen[str]", command: str) -> str:
        """Send a command and return the line that the child answers, empty if none comes in time."""
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(command)
            child.stdin.flush()
        ready, _, _ = select.select([child.stdout], [], [], _SECONDS_PER_BLOCK)
        return child.stdout.readline().strip() if ready else ""

    def _child(self, command: list[str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _with_ports(self, text: str) -> str:
        return re.sub(r"\b\d+\b", lambda found: self._ports.get(found[0], found[0]), text)

    def _outputs(self, line: int) -> tuple[Path, Path]:
        return self._logs / f"{line}.out", self._logs / f"{line}.err"

    def _result(self, line: int) -> Result:
        output, errors = (path.read_text() if path.exists() else "" for path in self._outputs(line))
        return Result(output, errors)

    def _failed(self, line: int, text: str) -> BlockFailed:
        result = self._result(line)
        return BlockFailed(
            f"{self._page}:{line} failed or took longer than {_SECONDS_PER_BLOCK:g} s\n"
            f"{text}\n--- output\n{result.output[-3000:]}\n--- errors\n{result.errors[-3000:]}"
        )


def differences(documented: Any, actual: Any, where: str = "the answer") -> list[str]:
    """Return how the shape of an answer differs from the documented one.

    Objects must have the same members, values the same types, and truth values must agree. Members
    named by a time are compared in their order, whatever the times. Lists are compared as far as the
    document shows them, because documents shorten them. Null may stand for any value.
    """
    if documented is None or actual is None:
        return []
    if isinstance(documented, dict) and isinstance(actual, dict):
        documented, actual = _without_times(documented), _without_times(actual)
        found = [f"{where} lacks {name}" for name in documented.keys() - actual.keys()]
        found += [f"{where} also has {name}" for name in actual.keys() - documented.keys()]
        for name in sorted(documented.keys() & actual.keys()):
            found += differences(documented[name], actual[name], f"{where}.{name}")
        return found
    if isinstance(documented, list) and isinstance(actual, list):
        found = [] if len(documented) <= len(actual) else [f"{where} has {len(actual)} items"]
        for number, pair in enumerate(zip(documented, actual, strict=False)):
            found += differences(*pair, f"{where}[{number}]")
        return found
    alike = (
        documented is actual if isinstance(documented, bool) else _kind(documented) is _kind(actual)
    )
    return [] if alike else [f"{where} is {actual!r}, documented is {documented!r}"]


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def _without_times(members: dict[str, Any]) -> dict[str, Any]:
    """Return an object whose members are named by times with their positions as names instead."""
    if not members or not all(_TIME.match(name) for name in members):
        return members
    return {"any time": [members[name] for name in sorted(members)]}
