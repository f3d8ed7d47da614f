"""The entry points, with a script in place of Python that prints how it was called."""

import shutil
import subprocess

import pytest

from devstack.processes import ROOT, SupervisedProcess, says

_NAMES = ("web", "worker", "beat")
# Prints its id, folder, module path and arguments. A migration waits until the FIFO in GATE is opened.
_PYTHON = """#!/bin/bash
echo "$$ in $PWD with $PYTHONPATH: $*"
[[ $2 == origin.migrate && -n ${GATE:-} ]] && read -r _ < "$GATE"
[[ $2 == origin.migrate ]] && exit "${MIGRATION:-0}"
read -r _ <> <(:)
"""


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "a project"
    root.mkdir()
    shutil.copytree(ROOT / "bin", root / "bin")
    for name in _NAMES:
        shutil.copy(ROOT / f"entrypoint.{name}.sh", root)
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(_PYTHON)
    python.chmod(0o755)
    return root


def _start(entry_point, logs, ready=r"gunicorn|celery", **env):
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", **env}
    return SupervisedProcess(entry_point.stem, [entry_point], env=env, logs=logs, ready=says(ready))


@pytest.mark.parametrize("name", _NAMES)
def test_migrates_and_becomes_the_service(project, tmp_path, name):
    with _start(project / f"entrypoint.{name}.sh", tmp_path) as process:
        migration, service = process.output().splitlines()
        assert f"in {project} with {project}/src: -m origin.migrate" in migration
        assert service.startswith(f"{process.pid} in {project} with {project}/src: -m ")
        assert process.terminate() == -15


def test_an_entry_point_works_by_a_link(project, tmp_path):
    link = tmp_path / "links" / "web"
    link.parent.mkdir()
    link.symlink_to("../a project/entrypoint.web.sh")
    with _start(link, tmp_path) as process:
        assert f"in {project} with {project}/src: -m gunicorn" in process.output()


def test_without_a_venv_the_python_on_the_path_is_used(project, tmp_path):
    folder = tmp_path / "path"
    folder.mkdir()
    (project / ".venv" / "bin" / "python").rename(folder / "python")
    path = f"{folder}:/usr/bin:/bin"
    with _start(project / "entrypoint.web.sh", tmp_path, PATH=path) as process:
        assert "-m gunicorn" in process.output()


def test_without_a_venv_pipenvs_environment_is_used(project, tmp_path):
    folder = tmp_path / "path"
    folder.mkdir()
    (project / ".venv").rename(tmp_path / "elsewhere")
    pipenv = folder / "pipenv"
    pipenv.write_text(f'#!/bin/bash\n[[ $* == --venv ]] && echo "{tmp_path}/elsewhere"\n')
    pipenv.chmod(0o755)
    path = f"{folder}:/usr/bin:/bin"
    with _start(project / "entrypoint.web.sh", tmp_path, PATH=path) as process:
        assert "-m gunicorn" in process.output()


@pytest.mark.parametrize(
    ("name", "env", "expected"),
    [
        ("web", {}, "--bind 0.0.0.0:8085"),
        ("web", {"BIND_HOST": "127.0.0.1", "PORT": "9000"}, "--bind 127.0.0.1:9000"),
        ("web", {"BIND_HOST": "::"}, "--bind [::]:8085"),
        ("web", {"BIND_HOST": "[::1]", "PORT": "9000"}, "--bind [::1]:9000"),
        ("web", {"WORKERS": ""}, "--workers 3 --worker-connections 100"),
        ("web", {"WORKERS": "5", "WORKER_CONNECTIONS": "7"}, "--workers 5 --worker-connections 7"),
        ("worker", {}, "--pool gevent --concurrency 100"),
        ("worker", {"CONCURRENCY": "9"}, "--pool gevent --concurrency 9"),
        ("beat", {}, "beat --loglevel INFO"),
    ],
)
def test_variables_reach_the_service(project, tmp_path, name, env, expected):
    with _start(project / f"entrypoint.{name}.sh", tmp_path, **env) as process:
        assert expected in process.output()


def test_a_failed_migration_starts_no_service(project):
    ended = subprocess.run(
        [project / "entrypoint.web.sh"],
        env={"PATH": "/usr/bin:/bin", "MIGRATION": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "gunicorn" not in ended.stdout


def test_sigterm_ends_a_running_migration(project, tmp_path, wait_until_gone):
    gate = tmp_path / "gate"
    subprocess.run(["mkfifo", gate], check=True)
    with _start(
        project / "entrypoint.web.sh", tmp_path, ready="origin.migrate", GATE=str(gate)
    ) as process:
        migration = int(process.output().split()[0])
        assert process.terminate() == 143
        wait_until_gone(migration)
        assert "gunicorn" not in process.output()
