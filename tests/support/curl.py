"""Stands in for curl where a machine has none: the options that the documents use, and no others.

`python -m tests.support.curl [options] URL`. The exit status is curl's: 7 if nothing listens, 22 if
`--fail` is set and the status is 400 or above.
"""

import argparse
import sys
from pathlib import Path

import requests

_COULD_NOT_CONNECT, _FAILED = 7, 22


def main(arguments: list[str]) -> int:
    """Make one request, and write the answer's body; return the exit status."""
    parser = argparse.ArgumentParser(prog="curl", allow_abbrev=False)
    option = parser.add_argument
    option("-s", "--silent", action="store_true")
    option("-f", "--fail", action="store_true")
    option("-i", "--include", action="store_true")
    option("-X", "--request")
    option("-H", "--header", action="append", default=[])
    option("-o", "--output", type=Path)
    option("-d", "--data")
    option("--json")
    option("url")
    options = parser.parse_args(arguments)
    headers = dict(line.split(": ", 1) for line in options.header)
    if options.json is not None:
        headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
    elif options.data is not None:
        headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    body = options.json if options.json is not None else options.data
    method = options.request or ("GET" if body is None else "POST")
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.request(
                method,
                options.url,
                headers=headers,
                data=None if body is None else body.encode(),
                allow_redirects=False,
                timeout=60,
            )
        except requests.ConnectionError:
            return _COULD_NOT_CONNECT
    if options.fail and answer.status_code >= 400:
        return _FAILED
    _write(answer, options.output, include=options.include)
    return 0


def _write(answer: requests.Response, output: Path | None, *, include: bool) -> None:
    head = b""
    if include:
        lines = [f"HTTP/1.1 {answer.status_code} {answer.reason}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
    if output is None:
        sys.stdout.buffer.write(head + answer.content)
    else:
        output.write_bytes(head + answer.content)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
