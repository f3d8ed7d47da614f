"""Writes the reference of the operators' commands into a page: `python -m devstack.commands_document FILE`.

It replaces everything below the page's heading "All commands".
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from flask import Flask

from origin.cli.commands import register_commands

HEADING = "## All commands\n"


def reference() -> str:
    """Return the reference in Markdown: for each command its purpose, its usage and its options."""
    app = Flask(__name__)
    register_commands(app)
    return "\n".join(
        _section(path, command) for path, command in sorted(commands(app.cli, "flask"))
    )


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its path, such as `flask users list`."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _section(path: str, command: click.Command) -> str:
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    options = [each for each in command.params if isinstance(each, click.Option)]
    usage = " ".join([path, *(["[OPTIONS]"] if options else []), *map(_argument, arguments)])
    lines = [f"### {path}\n", f"`{usage}`\n", f"{_escaped(_paragraphs(command.help or ''))}\n"]
    if options:
        lines += ["| option | meaning |", "| --- | --- |", *map(_row, options), ""]
    return "\n".join(lines)


def _argument(argument: click.Argument) -> str:
    name = argument.human_readable_name.upper()
    shown = f"{name} …" if argument.nargs < 0 else name
    return shown if argument.required else f"[{shown}]"


def _row(option: click.Option) -> str:
    names = ", ".join(option.opts)
    value = "" if option.is_flag else f" {option.make_metavar(click.Context(click.Command('')))}"
    default = f" Default: {option.default}." if option.show_default and option.default else ""
    return f"| `{_escaped(names + value)}` | {_escaped(option.help or '')}{default} |"


def _paragraphs(text: str) -> str:
    """Return the text with each paragraph in one line."""
    return "\n\n".join(" ".join(each.split()) for each in re.split(r"\n\s*\n", text.strip()))


def _escaped(text: str) -> str:
    """Return text for Markdown's tables: a pipe would end the cell."""
    return text.replace("|", "\\|")


def with_reference(page: str) -> str:
    """Return the page with a new reference."""
    written, heading, _ = page.partition(HEADING)
    if not heading:
        raise ValueError(f"The page has no heading {HEADING.strip()!r}")
    return f"{written}{HEADING}\n{reference()}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_reference(path.read_text(encoding="utf-8")), encoding="utf-8")
