"""The documents name what is there: links, files, decisions, checks."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from flask import Flask

from devstack.processes import ROOT
from origin.cli.commands import register_commands
from tests.support.document_blocks import RUNNABLE, SHOWN, blocks, pages

DECISIONS = ROOT / "doc/decisions"
SECTIONS = ["Context", "Options", "Decision", "Consequences"]
DOCUMENTS = pages()
# Roots that the documents leave out of a path.
BEGINNINGS = ("", "src/", "src/origin/", "src/migrations/versions/", "doc/", "tests/")

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
_CODE_BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[\w.-]+(/[\w.-]+)*/?")
_FOLDERS = {
    path.name for root in (ROOT, ROOT / "src", ROOT / "src/origin") for path in root.iterdir()
}


@cache
def _text(document: str) -> str:
    return (ROOT / document).read_text()


def _anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.+)$", _CODE_BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def _links(text: str) -> Iterator[str]:
    for markdown, html in _LINK.findall(_CODE_BLOCK.sub("", text)):
        link = markdown or html
        if not re.match(r"[a-z]+:", link):
            yield link


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str):
    for link in _links(_text(document)):
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / unquote(path) if path else ROOT / document
        assert target.exists(), f"{document} links to {link}, which isn't there"
        if anchor:
            assert anchor in _anchors(target.read_text()), f"{document}: no heading for {link}"


def _named_paths(text: str) -> Iterator[str]:
    """Yield what in code marks looks like a path of this project: `db/driver.py`, `src/origin/web/`."""
    for code in _CODE.findall(_CODE_BLOCK.sub("", text)):
        if not _PATH.fullmatch(code) or "/" not in code:
            continue
        first = code.split("/")[0]
        is_file = code.endswith((".py", ".md", ".sh", ".yaml", "/"))
        if (is_file and first in _FOLDERS) or first in {"src", "tests", "doc"}:
            yield code


def _is_there(path: str) -> bool:
    return any((ROOT / beginning / path).exists() for beginning in BEGINNINGS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_files_exist(document: str):
    gone = [path for path in _named_paths(_text(document)) if not _is_there(path)]
    assert gone == [], f"{document} names files that aren't there"


@pytest.mark.parametrize("page", DOCUMENTS)
def test_each_block_is_run_or_shown_or_says_why_not(page: str):
    """`tests/docs` runs all blocks in these languages that give no reason."""
    for block in blocks(ROOT / page):
        where = f"{page}:{block.line}"
        assert block.language in RUNNABLE | SHOWN, f"{where} names no language that we know"
        assert block.reason is None or len(block.reason) > 10, f"{where} gives no reason"
        assert block.reason is None or block.language in RUNNABLE, f"{where} is never run"


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = {link.partition("#")[0] for link in _links(_text(page))}
        found = {((ROOT / page).parent / unquote(link)).resolve() for link in links if link}
        names = {each.relative_to(ROOT).as_posix() for each in found if each.is_relative_to(ROOT)}
        waiting += (names & set(DOCUMENTS)) - reached
    moved = {page for page in DOCUMENTS if "\nThis page has moved: " in _text(page)}
    assert set(DOCUMENTS) - moved - reached == set()


def _commands(group: click.Group, beginning: str = "") -> Iterator[str]:
    """Yield the names of all commands of our own, for example `users list`."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{name} ")
        else:
            yield beginning + name


def test_the_readme_lists_each_command():
    """A row names the group once: `keys status`, `rotate`."""
    app = Flask(__name__)
    register_commands(app)
    section = _text("README.md").partition("\n### Operators' commands\n")[2].partition("\n## ")[0]
    told = []
    for row in re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE):
        names = _CODE.findall(row)
        group, _, _ = names[0].rpartition(" ")
        told += [names[0], *(f"{group} {name}" for name in names[1:])]
    assert sorted(told) == sorted(_commands(app.cli))


def test_the_scopes_of_every_endpoint_are_documented():
    """In the API's description each operation names its scopes, or no token at all."""
    described: dict[str, set[str]] = {}
    for path, operations in json.loads(_text("doc/openapi.json"))["paths"].items():
        for operation in operations.values():
            ways = [some for way in operation["security"] for some in way.values() if some]
            if ways:
                needed = " or ".join(sorted(" and ".join(sorted(way)) for way in ways))
                described.setdefault(needed, set()).add(path)
    rows = re.findall(
        r"^\| (`[a-z.]+`(?: (?:and|or) `[a-z.]+`)*) \| (`/.+) \|$",
        _text("doc/integrating/tokens.md"),
        re.MULTILINE,
    )
    documented = {}
    for scopes, paths in rows:
        joint = " or " if " or " in scopes else " and "
        needed = joint.join(sorted(re.findall(r"`([^`]+)`", scopes)))
        documented[needed] = set(re.findall(r"`(/[^`]+)`", paths))
    assert documented == described


def _records() -> list[Path]:
    return sorted(DECISIONS.glob("[0-9]*.md"))


@pytest.mark.parametrize("record", _records(), ids=lambda record: record.name)
def test_a_decision_has_its_sections(record: Path):
    text = record.read_text()
    number = int(record.name[:4])
    assert text.startswith(f"# {number}. "), "the title has the file's number"
    assert "**Status:** " in text
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == SECTIONS


def test_the_index_lists_each_decision():
    records = _records()
    assert [int(each.name[:4]) for each in records] == list(range(1, len(records) + 1))
    listed = re.findall(
        r"^- \[(.+)\]\((\d{4}-.+\.md)\)$", _text("doc/decisions/README.md"), re.MULTILINE
    )
    titles = {each.name: each.read_text().partition("\n")[0].removeprefix("# ") for each in records}
    assert {name: title for title, name in listed} == titles
    assert len(listed) == len(records)


def test_hooks_run_the_checks_of_make_check():
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", _text("Makefile"), re.MULTILINE)
    assert recipe
    checks = [
        line.strip().replace("$(python)", ".venv/bin/python") for line in recipe[1].splitlines()
    ]
    hooks = re.findall(r"^ +entry: (.+)$", _text(".pre-commit-config.yaml"), re.MULTILINE)
    assert hooks == checks
