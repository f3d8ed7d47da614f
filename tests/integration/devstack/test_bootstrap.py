"""`bin/bootstrap` finds a suitable Python, or says what is missing. Scripts stand in for the Pythons."""

import shutil
import subprocess
from pathlib import Path

import pytest

from devstack.processes import ROOT

TOOLS = ("bash", "flock", "readlink", "dirname", "cmp", "sha256sum", "env", "rm", "cat", "cp")
# Python's arguments as the script uses them. Creating an environment ends it, after the choice is made.
PYTHON = """\
#!{bash}
case "$*" in
  *version_info*) echo {version} ;;
  *ensurepip*) exit {ensurepip} ;;
  *sys.executable*) echo "$0" ;;
  "-m pip --version") exit {pip} ;;
  "-m venv"*) echo "chosen: $0"; exit 9 ;;
esac
"""


class Machine:
    """A machine with these programs alone."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "programs"
        self._clone = folder / "clone"
        (self._clone / "bin").mkdir(parents=True)
        self.programs.mkdir()
        shutil.copy(ROOT / "bin/bootstrap", self._clone / "bin")
        for name in TOOLS:
            (self.programs / name).symlink_to(shutil.which(name) or name)

    def install(self, name: str, version: str, *, ensurepip: bool = True, pip: bool = True) -> Path:
        """Add a Python of this name."""
        path = self.programs / name
        path.write_text(
            PYTHON.format(
                bash=shutil.which("bash"),
                version=version,
                ensurepip=int(not ensurepip),
                pip=int(not pip),
            )
        )
        path.chmod(0o755)
        return path

    def bootstrap(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        return subprocess.run(
            [self._clone / "bin/bootstrap"],
            env={"PATH": str(self.programs), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def chosen(self, **environment: str) -> str:
        """Return the name of the Python that the script creates environments with."""
        done = self.bootstrap(**environment)
        assert done.returncode == 9, done.stderr
        return Path(done.stdout.rpartition("chosen: ")[2].strip()).name


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_systems_python_is_taken(machine: Machine, version: str):
    machine.install("python3", version)
    machine.install("python3.13", "3.13")
    assert machine.chosen() == "python3"


@pytest.mark.parametrize("name", ["python3.11", "python3.12", "python3.13", "python"])
@pytest.mark.parametrize("other", ["3.9", "3.10", "3.14", ""])
def test_another_one_is_taken_if_the_systems_does_not_fit(machine: Machine, name: str, other: str):
    machine.install("python3", other)
    machine.install(name, "3.12")
    assert machine.chosen() == name


def test_one_that_can_install_packages_is_preferred(machine: Machine):
    machine.install("python3", "3.12", ensurepip=False, pip=False)
    machine.install("python3.13", "3.13")
    assert machine.chosen() == "python3.13"


def test_the_systems_pip_is_enough(machine: Machine):
    machine.install("python3", "3.12", ensurepip=False)
    assert machine.chosen() == "python3"


def test_the_one_named_is_taken(machine: Machine, tmp_path: Path):
    machine.install("python3", "3.11")
    mine = machine.install("mine", "3.13").rename(tmp_path / "mine")
    assert machine.chosen(PYTHON=str(mine)) == "mine"


def test_it_says_if_venv_is_missing(machine: Machine):
    machine.install("python3", "3.12", ensurepip=False, pip=False)
    done = machine.bootstrap()
    assert done.returncode == 1
    assert "sudo apt install python3-venv (or python3.12-venv)" in done.stderr


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_it_says_if_no_python_fits(machine: Machine, version: str):
    machine.install("python3", version)
    done = machine.bootstrap()
    assert done.returncode == 1
    assert f"Python 3.11 to 3.13 is needed. Found: python3 is {version};" in done.stderr
    assert "sudo apt install python3 python3-venv" in done.stderr


def test_it_says_if_there_is_no_python(machine: Machine):
    done = machine.bootstrap()
    assert done.returncode == 1
    assert "Found: none." in done.stderr


def test_it_says_if_the_one_named_does_not_run(machine: Machine):
    machine.install("python3", "3.12")
    done = machine.bootstrap(PYTHON="/nowhere/python")
    assert done.returncode == 1
    assert done.stderr == "PYTHON=/nowhere/python is no Python that runs.\n"
