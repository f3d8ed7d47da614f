import os
import select
from contextlib import closing

import pytest


@pytest.fixture
def wait_until_gone():
    """Return a function that waits for the end of a process that isn't our child."""

    def wait(pid):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        with closing(os.fdopen(handle)) as process:
            assert select.select([process], [], [], 15)[0], f"process {pid} is still running"

    return wait
