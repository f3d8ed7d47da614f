"""The image's health check, `python -m origin.healthcheck`: exit status 0 if the web process is alive.

It calls the address that the web is bound to (BIND_HOST, PORT), and ignores proxies in the environment.
"""

import http.client
import os
import sys

_TIMEOUT_S = 4
_ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound


def is_alive(bind_host: str, port: int) -> bool:
    """Return whether the web that is bound to this address answers `/health/live` with 200."""
    host = bind_host.strip().strip("[]")
    connection = http.client.HTTPConnection(_ANY_ADDRESS.get(host, host), port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    alive = is_alive(os.environ.get("BIND_HOST", ""), int(os.environ.get("PORT") or 8085))
    sys.exit(0 if alive else 1)
