"""The runner of the documents' blocks notices what a reader would stumble over."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import psutil
import pytest

from devstack.processes import ROOT
from tests.docs.conftest import Desk
from tests.support.curl import main as curl
from tests.support.document_blocks import Block, blocks
from tests.support.page_session import BlockFailed, PageSession, differences
from tests.support.waiting import eventually


@pytest.fixture
def session(tmp_path: Path) -> Iterator[PageSession]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")}
    with PageSession("page.md", tmp_path, environment, {8085: 31999}) as opened:
        yield opened


def shell(text: str, line: int = 1) -> Block:
    return Block(line, "sh", text)


def python(text: str, line: int = 1) -> Block:
    return Block(line, "python", text)


def test_blocks_share_a_shell_and_a_python(session: PageSession):
    session.run(shell("export NAME=Anna; greet() { echo Hello $1; }\n"))
    assert session.run(shell("greet $NAME\n", 5)).output == "Hello Anna\n"
    session.run(python("import os\nname = os.environ['NAME']\n", 9))
    session.run(shell("export NAME=Bo\n", 15))
    both = session.run(python("print(name, os.environ['NAME'])\n", 20)).output
    assert both == "Anna Bo\n"


def test_ports_are_replaced_and_nothing_else(session: PageSession):
    text = "curl http://127.0.0.1:8085/a 18085 8085.5 80850\n"
    assert session.run(shell(f"echo '{text}'\n")).output.split() == [
        "curl",
        "http://127.0.0.1:31999/a",
        "18085",
        "31999.5",
        "80850",
    ]


@pytest.mark.parametrize(
    "block",
    [
        shell("echo before\nfalse\necho after\n", 7),
        shell("echo before; false | cat\n", 7),
        shell("echo before; exit 0\n", 7),
        shell("echo before\nif\n", 7),
        python("print('before')\nraise SystemExit(0)\n", 7),
        python("print('before')\n1 / 0\n", 7),
    ],
    ids=lambda block: block.text,
)
def test_a_block_that_fails_is_named_with_its_output(session: PageSession, block: Block):
    with pytest.raises(BlockFailed) as failure:
        session.run(block)
    assert str(failure.value).startswith("page.md:7 failed")
    if "if" not in block.text:
        assert "--- output\nbefore\n" in str(failure.value)


def test_a_saved_block_becomes_a_file_that_commands_use(session: PageSession):
    session.run(Block(1, "python", "print('port', 8085)\n", file="server.py"))
    assert session.run(shell(f"'{sys.executable}' server.py\n", 5)).output == "port 31999\n"


def test_what_a_block_starts_ends_with_the_page(tmp_path: Path):
    with PageSession("page.md", tmp_path, {"PATH": os.environ["PATH"]}, {}) as opened:
        started = psutil.Process(int(opened.run(shell("sleep 600 &\necho $!\n")).output))
        assert started.is_running()
    eventually(
        lambda: not started.is_running() or started.status() == psutil.STATUS_ZOMBIE, "it has ended"
    )


PAGE = """# A page

Not run here: it needs docker.

```sh
docker run
```

Save this as `server.py`:

```python
print()
```

1. A step:

   ```bash
   echo one
   ```

```json
{}
```
"""


def test_blocks_are_found_with_what_stands_before_them(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert blocks(page) == [
        Block(6, "sh", "docker run\n", reason="it needs docker."),
        Block(12, "python", "print()\n", file="server.py"),
        Block(18, "bash", "echo one\n"),
        Block(22, "json", "{}\n"),
    ]
    assert [block.is_run for block in blocks(page)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("documented", "actual", "expected"),
    [
        ({"a": 1, "b": "x"}, {"a": 2, "b": "y"}, []),
        ({"a": 1}, {"a": 1.5}, []),
        ({"a": None}, {"a": [1]}, []),
        ([{"a": 1}], [{"a": 1}, {"b": 1}], []),
        ({"2020-01-01T00:00:00Z": 1}, {"2026-05-05T00:00:00Z": 2}, []),
        ({"a": 1}, {}, ["it lacks a"]),
        ({}, {"a": 1}, ["it also has a"]),
        ({"a": {"b": "1"}}, {"a": {"b": 1}}, ["it.a.b is 1, documented is '1'"]),
        ({"a": True}, {"a": False}, ["it.a is False, documented is True"]),
        ({"a": 1}, {"a": True}, ["it.a is True, documented is 1"]),
        ([1, 2], [1], ["it has 1 items"]),
        ({"2020-01": "x"}, {"2026-05": 1}, ["it.any time[0] is 1, documented is 'x'"]),
    ],
)
def test_shapes_are_compared_but_not_values(
    documented: object, actual: object, expected: list[str]
):
    assert differences(documented, actual, "it") == expected


@pytest.mark.parametrize(
    "options",
    [
        ["-s", "{url}/health/live"],
        ["-s", "-X", "POST", "{url}/accounts"],
        ["-s", "{url}/ggo", "-H", "Authorization: Bearer {token}", "--json", '{{"filters": {{}}}}'],
        ["-s", "-f", "{url}/nothing"],
        ["-s", "{hydra}/oauth2/introspect", "-d", "token={token}"],
        ["-s", "http://127.0.0.1:9/"],
    ],
    ids=lambda options: options[-1],
)
def test_the_stand_in_answers_like_curl(
    desk: Desk, capfdbinary: pytest.CaptureFixture[bytes], options: list[str]
):
    """Where there is a curl: elsewhere every page depends on the stand-in."""
    facts = {"url": desk.variables["SERVICE"], "hydra": desk.variables["HYDRA"]}
    arguments = [each.format(**facts, token=desk.variables["ANNA_TOKEN"]) for each in options]
    status = curl(arguments)
    output = capfdbinary.readouterr().out
    if which("curl"):
        real = subprocess.run(["curl", *arguments], capture_output=True, check=False)
        assert (status, output) == (real.returncode, real.stdout)


def test_commands_of_operators_end_with_their_own_status(desk: Desk, tmp_path: Path):
    command = "{} users show nobody || echo status $?\npipenv run flask users list >users.txt\n"
    with PageSession("page.md", tmp_path, desk.environment(), {}) as opened:
        result = opened.run(shell(command.format("flask")))
    assert result.output.endswith("status 1\n")
    assert "No account has the subject nobody" in result.errors
    assert desk.variables["ANNA"] in (tmp_path / "users.txt").read_text()
