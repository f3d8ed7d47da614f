"""Console output: steps, progress bars, tables. Plain lines if the output is not a terminal."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from devstack.guarded import ProcessFailedError

_BAR_CELLS = 30
_POLL_SECONDS = 0.2


class Console:
    """Writes to standard output. Progress bars appear on a terminal only."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._in_line = False

    def say(self, line: str = "") -> None:
        """Write a line."""
        self._finish_line()
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show a step while it runs, and its duration when it has succeeded."""
        begin = time.monotonic()
        if self._terminal:
            self._rewrite(f"  … {title}")
        yield
        line = f"  ✓ {title} ({time.monotonic() - begin:.1f} s)"
        if self._terminal:
            self._rewrite(line)
        else:
            sys.stdout.write(line)
            self._in_line = True
        self._finish_line()

    def bar(self, title: str, done: int, total: int) -> None:
        """Show a progress bar, on a terminal only."""
        if self._terminal:
            cells = _BAR_CELLS * done // max(total, 1)
            bar = "█" * cells + "░" * (_BAR_CELLS - cells)
            self._rewrite(f"  {bar} {title} {done}/{total}")

    def wait_for(self, title: str, progress: Callable[[], tuple[int, int]], timeout: float) -> None:
        """Show progress (done, total) until done equals total; ProcessFailedError after `timeout` s."""
        deadline = time.monotonic() + timeout
        while True:
            done, total = progress()
            self.bar(title, done, total)
            if done == total:
                return
            if time.monotonic() > deadline:
                raise ProcessFailedError(f"{title}: {done} of {total} after {timeout:.0f} s")
            time.sleep(_POLL_SECONDS)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str | int]]) -> None:
        """Write a table; integers are right-aligned, with thousands separators."""
        cells = [list(header)] + [[_cell(value) for value in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        numeric = [isinstance(value, int) for value in rows[0]]
        for number, row in enumerate(cells):
            parts = [
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ]
            self.say("  " + "  ".join(parts).rstrip())
            if number == 0:
                self.say("  " + "  ".join("─" * width for width in widths))

    def _rewrite(self, line: str) -> None:
        sys.stdout.write(f"\r\x1b[K{line}")
        sys.stdout.flush()
        self._in_line = True

    def _finish_line(self) -> None:
        if self._in_line:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._in_line = False


def _cell(value: str | int) -> str:
    return f"{value:,}" if isinstance(value, int) else value
