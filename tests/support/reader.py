"""A browser whose user is the demo's Anna: `python -m tests.support.reader URL`.

Opens the URL, logs in and consents where asked, and follows each redirect to its end, as webbrowser
expects of the command in BROWSER.
"""

import os
import sys
from contextlib import closing
from urllib.parse import parse_qs, urlsplit

from devstack.client import Browser


def main(url: str) -> None:
    """Open the URL, and fetch the page that the login ends at."""
    [target] = parse_qs(urlsplit(url).query)["redirect_uri"]
    with closing(Browser()) as browser:
        page = browser.session.get(url, allow_redirects=False, timeout=10)
        end = browser.follow(page, target, os.environ["ANNA"])
        browser.session.get(end, timeout=10).raise_for_status()


if __name__ == "__main__":
    main(sys.argv[1])
