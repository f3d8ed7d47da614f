"""Reads the health and the version of a release's web. `helm test` runs it inside the cluster.

It tries again for a minute, because workers announce themselves some seconds after their start. The exit
status is 0 only if all last answers are as expected. It needs only Python.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

PATHS = ("/health/live", "/health/ready", "/health/work")
WEB = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def read(path):
    """Return status and body of an answer; status 0 if there is none."""
    try:
        with WEB.open(os.environ["WEB_URL"] + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def problems():
    """Read each path once, print what it says, and return what is wrong."""
    found = []
    for path in PATHS:
        status, body = read(path)
        sys.stdout.write(f"{path} {status} {body.strip()}\n")
        if status != 200:
            found.append(f"{path} answers {status or 'nothing'}")
        elif path == "/health/live":
            found += wrong_version(json.loads(body).get("version"))
    return found


def wrong_version(version):
    """Return what is wrong with this version, if the chart knows which one its image has."""
    expected = os.environ["EXPECTED_VERSION"]
    return [f"version {version} runs, not {expected}"] if expected not in ("", version) else []


deadline = time.monotonic() + float(os.environ.get("WAIT_SECONDS") or 60)
while (wrong := problems()) and time.monotonic() < deadline:
    time.sleep(3)
sys.exit("; ".join(wrong) or None)
