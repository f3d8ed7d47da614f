"""Makes PDFs of Typst templates. A template gets all that it shows as data, never as markup."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

_ROOT = Path(__file__).parents[1]
"""Templates import each other below it, such as `/documents/house.typ`."""


@dataclass(frozen=True)
class Issuer:
    """Who issues a document, at which web address, and when (aware)."""

    name: str
    address: str
    now: datetime


def compile_pdf(template: Path, content: dict[str, Any], now: datetime) -> bytes:
    """Return the PDF, with embedded fonts and tags (PDF/UA-1). Equal arguments give equal bytes.

    :param content: `sys.inputs.data` of the template, as JSON.
    :param now: When it is issued.
    """
    # Imported when needed: it would cost every process 30 MB.
    import typst

    return typst.compile(
        str(template),
        root=str(_ROOT),
        sys_inputs={"data": orjson.dumps(content).decode()},
        ignore_system_fonts=True,
        pdf_standards=["ua-1"],
        timestamp=now.replace(microsecond=0),
    )
