"""What runs: the version of the service, and the git revision that an image was built from."""

from functools import cache
from pathlib import Path

from origin import __version__ as VERSION  # noqa: N812 - a constant

__all__ = ["VERSION", "revision"]

_REVISION_FILE = Path(__file__).resolve().parent.parent / "REVISION"
"""The Dockerfile writes it from the build argument REVISION."""


@cache
def revision() -> str | None:
    """Return the git revision that this image was built from; None outside of an image."""
    try:
        return _REVISION_FILE.read_text().strip() or None
    except FileNotFoundError:
        return None
