"""What the demo leaves for a reader's shell while it runs."""

import shlex
import socket
import stat
from pathlib import Path

import pytest

from devstack import demo
from devstack.ports import LOOPBACK, free_port, wanted_port


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "demo.env"
    monkeypatch.setattr(demo, "_VARIABLES", path)
    return path


def test_variables_are_exported_as_they_are():
    value = "it's $HOME; `x`\n"
    [command, name_and_value] = shlex.split(demo.exports({"NAME": value}))
    assert (command, name_and_value) == ("export", f"NAME={value}")


def test_only_this_user_can_read_the_tokens_and_they_go_with_the_demo(file: Path):
    file.write_text("an older demo's, which was killed")
    file.chmod(0o644)
    with demo._written("export A=b\n"):
        assert file.read_text() == "export A=b\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.exists()


def test_another_demos_variables_stay(file: Path):
    with demo._written("export A=b\n"):
        file.write_text("export A=c\n")
    assert file.read_text() == "export A=c\n"


def test_a_wanted_port_is_used_if_it_is_free():
    port = free_port()
    assert wanted_port(port) == port


def test_another_port_is_used_if_the_wanted_one_is_taken():
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        assert wanted_port(port) != port
