"""A container engine by its command line: podman, or docker, which understands the same words."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any

from devstack.guarded import ProcessFailedError
from devstack.processes import ROOT

# What the engines themselves are configured by.
_OWN_VARIABLES = ("CONTAINER", "BUILDAH_", "DOCKER_", "XDG_", "REGISTRY_")
# As an orchestrator should run the service: nothing to write to but /tmp, no right to anything.
LOCKED_DOWN = (
    "--network=host",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)


class Engine:
    """Podman where there is one, else docker; `program` names another.

    ProcessFailedError, from every method, with what the engine said where a command fails.
    """

    def __init__(self, program: str | None = None) -> None:
        found = next(filter(shutil.which, [program] if program else ["podman", "docker"]), None)
        if found is None:
            raise ProcessFailedError(f"{program or 'podman or docker'} is needed")
        self.program = found

    def environment(self) -> dict[str, str]:
        """The variables that the engine is configured by, which its commands must keep."""
        return {
            name: value for name, value in os.environ.items() if name.startswith(_OWN_VARIABLES)
        }

    def build(self, image: str, options: Sequence[str]) -> None:
        """Build the checkout's Dockerfile as `image`; `options` are the engine's own."""
        # OCI's own format has no health check.
        form = ["--format=docker"] if self.program.endswith("podman") else []
        self._run("build", *form, "--tag", image, *options, str(ROOT))

    def image(self, name: str) -> dict[str, Any]:
        """What the engine knows of an image, with docker's names: `Config`, `Size` (bytes)."""
        (found,) = json.loads(self._run("image", "inspect", name))
        image: dict[str, Any] = found
        # Podman keeps it elsewhere.
        image["Config"].setdefault("Healthcheck", image.get("Healthcheck"))
        return image

    def history(self, image: str) -> str:
        """The commands that the image was made by."""
        return self._run("history", "--no-trunc", "--format={{.CreatedBy}}", image)

    def run(self, image: str, command: Sequence[str]) -> str:
        """Run a command in a locked down container of its own, and return its output."""
        return self._run("run", "--rm", *LOCKED_DOWN, image, *command)

    def fails(self, image: str, command: Sequence[str]) -> bool:
        """Whether a command, in a locked down container of its own, ends with status 1."""
        return self._try("run", "--rm", *LOCKED_DOWN, image, *command).returncode == 1

    def service(
        self, image: str, container: str, entry_point: str, variables: Iterable[str]
    ) -> list[str]:
        """The command that runs a service in the foreground, locked down, in a container of this name.

        `variables` are `NAME=value`, or names alone: their values come from the environment of whoever
        runs the command, where no list of processes shows them. The service starts in `/`.
        """
        passed = [f"--env={name}" for name in variables]
        named = ["--name", container, "--workdir=/"]
        return [self.program, "run", "--rm", *named, *LOCKED_DOWN, *passed, image, entry_point]

    def execute(self, container: str, command: Sequence[str]) -> str:
        """Run a command in a container that runs, and return its output."""
        return self._run("exec", container, *command)

    def remove(self, containers: Iterable[str]) -> None:
        """Remove the containers, running or not; none there is no error."""
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
