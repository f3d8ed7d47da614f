"""`make image-check`: builds the image, inspects it, and runs the demo on it.

Web, worker and beat run from the image, locked down (read-only file system, no capabilities, no root),
on the host's network; PostgreSQL, Redis and the peers run outside of it. The exit status is 0 only if
the image is as required, every balance is right, and all three processes end at SIGTERM. Arguments after
`--` go to the engine's `build`.
"""

import argparse
import json
import secrets
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests

from devstack.client import ApiRefusalError, UnexpectedAnswerError
from devstack.configured import postgres_server, redis_server
from devstack.console import Console
from devstack.demo import Demo
from devstack.engine import Engine
from devstack.environment import inherited
from devstack.guarded import ProcessFailedError
from devstack.ports import LOOPBACK, free_port
from devstack.processes import ROOT
from devstack.stack import free_url, redirect_uris, running_sandbox, running_services
from origin.shared.release import VERSION
from sandbox.clients import ControlError

_NAMES = ("web", "worker", "beat")
_MEGABYTE = 1_000_000
# Programs and files that the image doesn't need or must not contain.
_UNWANTED_PROGRAMS = ("gcc", "cc", "g++", "clang", "make", "pip", "pip3", "pipenv", "git")
_UNWANTED_FILES = (
    "/etc/pip.conf",
    "/opt/service/.env",
    "/opt/service/tests",
    "/opt/service/src/devstack",
    "/opt/service/src/sandbox",
    "/opt/tools",
    "/run/secrets/ca.crt",
    "/run/secrets/pip.conf",
)
_LOOK = f"""
[ "$(id -u):$(id -g)" = 10001:10001 ] || echo "It runs as $(id)"
for each in {" ".join(_UNWANTED_PROGRAMS)}; do command -v $each; done
for each in {" ".join(_UNWANTED_FILES)}; do [ -e $each ] && echo $each; done
find /opt -writable ! -type l
touch /opt/service/x 2>/dev/null && echo "The file system isn't read-only"
touch /tmp/x || echo "/tmp can't be written"
python -c 'import devstack' 2>/dev/null && echo "devstack is there"
exit 0
"""


class ImageCheck:
    """Checks one image. Methods raise ProcessFailedError if it isn't as required."""

    def __init__(self, engine: Engine, image: str, console: Console) -> None:
        self._engine = engine
        self._image = image
        self._console = console
        run = secrets.token_hex(3)
        self._containers = {name: f"account-service-check-{run}-{name}" for name in _NAMES}
        # The web serves its metrics on its own port.
        self._metrics_ports = {"worker": free_port(), "beat": free_port()}

    def look(self) -> None:
        """Check that the image has no root user, compiler, secret, or writable file."""
        image = self._engine.image(self._image)
        title = (
            f"{image['Size'] / _MEGABYTE:.0f} MB; no root, compiler, secret or writable file in it"
        )
        with self._console.step(title):
            found = self._engine.run(self._image, ["sh", "-c", _LOOK])
            told = "\n".join([*image["Config"]["Env"], self._engine.history(self._image)])
            if image["Config"]["User"] in {"", "0", "root", "0:0"}:
                found += "Its user is root\n"
            # The package index belongs to the build's configuration, not into the image.
            if any(name in told for name in ("INDEX_URL", "PIP_CONFIG", "PIP_TRUSTED_HOST")):
                found += "Its history or environment names a package index\n"
            version = (image["Config"]["Labels"] or {}).get("org.opencontainers.image.version")
            if version != VERSION:
                found += f"Its label says version {version}, not {VERSION}\n"
            if found:
                raise ProcessFailedError(f"The image isn't as required:\n{found}")
        with self._console.step("The health check fails if no web is running"):
            command = _health_command(image["Config"])
            if not self._engine.fails(self._image, command):
                raise ProcessFailedError(f"It doesn't fail: {shlex.join(command)}")

    def use(self, logs: Path) -> bool:
        """Run the demo on the image; return whether every balance is right."""
        url = free_url()
        with ExitStack() as stack:
            with self._console.step("PostgreSQL, Redis and the peers, outside of the image"):
                postgres = stack.enter_context(postgres_server())
                database_uri = postgres.create_database(f"image_{secrets.token_hex(3)}")
                redis = stack.enter_context(redis_server())
                sandbox = stack.enter_context(
                    running_sandbox(redirect_uris=redirect_uris(url), logs=logs)
                )
            stack.callback(self._engine.remove, self._containers.values())
            with self._console.step("Web, worker and beat from the image"):
                running = stack.enter_context(
                    running_services(
                        url,
                        sandbox,
                        database_uri=database_uri,
                        redis=redis,
                        logs=logs,
                        changes=self._engine.environment(),
                        command=self._command,
                    )
                )
            right = Demo(running, self._console).run()
            self._look_at_running(url)
            for process in running.services.all:
                with self._console.step(f"{process.name} ends with status 0 at SIGTERM"):
                    status = process.terminate()
                    if status:
                        raise ProcessFailedError(f"It ended with {status}")
        return right

    def _command(self, name: str, environment: Mapping[str, str]) -> list[str]:
        """Return the command that runs web, worker or beat with the service's variables only."""
        ours = {*inherited(), *self._engine.environment()}
        variables = [variable for variable in environment if variable not in ours]
        if name in self._metrics_ports:
            variables.append(f"METRICS_PORT={self._metrics_ports[name]}")
        entry_point = f"/opt/service/entrypoint.{name}.sh"
        return self._engine.service(self._image, self._containers[name], entry_point, variables)

    def _look_at_running(self, url: str) -> None:
        web = self._containers["web"]
        with self._console.step("Health check and operators' commands in the running web"):
            told = json.loads(self._engine.execute(web, ["flask", "version", "--json"]))
            labels = self._engine.image(self._image)["Config"]["Labels"]
            if (told["revision"] or "") != labels["org.opencontainers.image.revision"]:
                raise ProcessFailedError(f"`flask version` differs from the image's labels: {told}")
            self._engine.execute(web, _health_command(self._engine.image(self._image)["Config"]))
            users = self._engine.execute(web, ["flask", "users", "list"])
            if len(users.splitlines()) < 1 + 2:
                raise ProcessFailedError(f"`flask users list` says: {users}")
        with self._console.step("Web, worker and beat show their metrics"):
            others = [f"http://{LOOPBACK}:{port}" for port in self._metrics_ports.values()]
            for each in (url, *others):
                answer = requests.get(f"{each}/metrics", timeout=10)
                if answer.status_code != HTTPStatus.OK or "# TYPE" not in answer.text:
                    raise ProcessFailedError(f"{each}/metrics: {answer.status_code}")


def _health_command(config: Mapping[str, Any]) -> list[str]:
    check = config["Healthcheck"]
    if not check:
        raise ProcessFailedError("The image has no health check")
    kind, *command = check["Test"]
    assert kind == "CMD", "the Dockerfile sets a CMD"
    return [str(part) for part in command]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make image-check", description=__doc__)
    parser.add_argument("--engine", help="the engine's program (default: podman, else docker)")
    parser.add_argument("--image", default="localhost/account-service", help="the image's name")
    parser.add_argument("--no-build", action="store_true", help="use an existing image")
    parser.add_argument(
        "build", nargs="*", metavar="-- BUILD_OPTION", help="options of the engine's build"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Build, inspect and run the image; return the exit status, 0 only if all checks pass."""
    options = _options(arguments)
    console = Console()
    runs = ROOT / ".run"
    runs.mkdir(exist_ok=True)
    logs = Path(tempfile.mkdtemp(prefix="image-", dir=runs))
    try:
        engine = Engine(options.engine)
        if not options.no_build:
            with console.step(f"{engine.program} builds the image"):
                engine.build(options.image, options.build)
        check = ImageCheck(engine, options.image, console)
        check.look()
        right = check.use(logs)
    except (ProcessFailedError, ApiRefusalError, UnexpectedAnswerError, ControlError) as error:
        console.say(f"  ✗ {error}")
        right = False
    if not right:
        console.say(f"    The logs are in {logs.relative_to(ROOT)}.")
        return 1
    shutil.rmtree(logs)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
