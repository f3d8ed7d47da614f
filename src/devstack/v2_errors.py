"""Writes the catalogue of version 2's errors into its page: `python -m devstack.v2_errors PAGE`."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from werkzeug.exceptions import BadRequest, MethodNotAllowed

from origin.errors import OriginError
from origin.web.errors import TABLE, V2
from origin.web.v2.problems import framework_problem, internal_problem

BEGIN = "<!-- Made from the code: `make openapi` renews this table. -->\n"
END = "<!-- The end of the table. -->\n"

_WITHOUT_CLASS = (
    (framework_problem(BadRequest()), "The request is not well-formed."),
    (framework_problem(MethodNotAllowed()), "The path is there, and not with this method."),
    (internal_problem(), "A mistake in the service. Tell the operator the request id."),
)


def catalogue() -> str:
    """Return the table of all codes: by status, then by code."""
    rows = sorted({*_rows(), *((each.status, each.code, text) for each, text in _WITHOUT_CLASS)})
    lines = [f"| `{code}` | {status} | {text} |\n" for status, code, text in rows]
    return "".join(["| code | status | meaning |\n", "| --- | --- | --- |\n", *lines])


def _rows() -> Iterator[tuple[int, str, str]]:
    for error, wording in V2.items():
        for each in _with_subclasses(error):
            code = each.__dict__.get("code")
            if code is not None and (each is error or each not in TABLE):
                yield (wording.v2 or wording).status, code, _meaning(each)


def _with_subclasses(error: type[OriginError]) -> Iterator[type[OriginError]]:
    """Yield the class, and those that the table words as it."""
    yield error
    for each in error.__subclasses__():
        yield from _with_subclasses(each)


def _meaning(error: type[OriginError]) -> str:
    """Return the first sentence of the class's docstring."""
    assert error.__doc__ is not None
    paragraph = re.sub(r"\s+", " ", error.__doc__.partition("\n\n")[0]).strip()
    return re.split(r"(?<=\.) ", paragraph)[0].replace("|", r"\|")


def renewed(page: str) -> str:
    """Return the page with today's table.

    :raises ValueError: The page does not have the two marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN.strip()} or {END.strip()}")
    return f"{before}{begin}\n{catalogue()}\n{end}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
