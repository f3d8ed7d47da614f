"""Runs the command line of a container engine: podman or docker."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any

from devstack.guarded import ProcessFailedError
from devstack.processes import ROOT

# Prefixes of the variables that configure the engines themselves.
_OWN_VARIABLES = ("CONTAINER", "BUILDAH_", "DOCKER_", "XDG_", "REGISTRY_")
# As an orchestrator should run the service: only /tmp is writable, and there are no capabilities.
LOCKED_DOWN = (
    "--network=host",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)


class Engine:
    """Podman if it is installed, else docker; `program` chooses another one.

    Every method raises ProcessFailedError, with the engine's output, if a command fails.
    """

    def __init__(self, program: str | None = None) -> None:
        found = next(filter(shutil.which, [program] if program else ["podman", "docker"]), None)
        if found is None:
            raise ProcessFailedError(f"{program or 'podman or docker'} is needed")
        self.program = found

    def environment(self) -> dict[str, str]:
        """Return the variables that configure the engine; its commands need them."""
        return {
            name: value for name, value in os.environ.items() if name.startswith(_OWN_VARIABLES)
        }

    def build(self, image: str, options: Sequence[str]) -> None:
        """Build the checkout's Dockerfile as `image`; `options` go to the engine's `build`."""
        # Images in OCI format have no health check.
        form = ["--format=docker"] if self.program.endswith("podman") else []
        self._run("build", *form, "--tag", image, *options, str(ROOT))

    def image(self, name: str) -> dict[str, Any]:
        """Return the description of an image with docker's names: `Config`, `Size` (bytes)."""
        (found,) = json.loads(self._run("image", "inspect", name))
        image: dict[str, Any] = found
        # Podman reports the health check outside of `Config`.
        image["Config"].setdefault("Healthcheck", image.get("Healthcheck"))
        return image

    def history(self, image: str) -> str:
        """Return the commands that built the image."""
        return self._run("history", "--no-trunc", "--format={{.CreatedBy}}", image)

    def run(self, image: str, command: Sequence[str]) -> str:
        """Run a command in a new, locked down container, and return its output."""
        return self._run("run", "--rm", *LOCKED_DOWN, image, *command)

    def fails(self, image: str, command: Sequence[str]) -> bool:
        """Return whether a command exits with status 1 in a new, locked down container."""
        return self._try("run", "--rm", *LOCKED_DOWN, image, *command).returncode == 1

    def service(
        self, image: str, container: str, entry_point: str, variables: Iterable[str]
    ) -> list[str]:
        """Return the command that runs a service in the foreground, in a locked down container.

        `variables` are `NAME=value` or just names. The engine takes the values of the latter from
        its environment, which keeps them out of process lists. The service starts in `/`.
        """
        passed = [f"--env={name}" for name in variables]
        named = ["--name", container, "--workdir=/"]
        return [self.program, "run", "--rm", *named, *LOCKED_DOWN, *passed, image, entry_point]

    def execute(self, container: str, command: Sequence[str]) -> str:
        """Run a command in a running container, and return its output."""
        return self._run("exec", container, *command)

    def remove(self, containers: Iterable[str]) -> None:
        """Remove the containers, running or not; a missing one is no error."""
        self._try("rm", "--force", *containers)

    def _run(self, *arguments: str) -> str:
        ended = self._try(*arguments)
        if ended.returncode != 0:
            said = (ended.stderr or ended.stdout)[-2000:]
            raise ProcessFailedError(f"{self.program} {arguments[0]}: {ended.returncode}\n{said}")
        return ended.stdout

    def _try(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603 - the engine
            [self.program, *arguments], capture_output=True, text=True, check=False
        )
