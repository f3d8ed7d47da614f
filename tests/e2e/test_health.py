"""Health of the running processes, and a web that comes and goes behind a load balancer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from devstack.ports import free_port
from devstack.processes import SupervisedProcess, answers, entry_point
from tests.support.live_system import Household, LiveSystem
from tests.support.waiting import eventually


def work(system: LiveSystem) -> tuple[int, dict[str, object]]:
    answer = requests.get(f"{system.stack.url}/health/work", timeout=10)
    body = answer.json()
    return answer.status_code, {name: body[name] for name in ("success", "workers", "beat")}


def test_work_is_done_until_the_worker_is_killed(system: LiveSystem):
    """The killed worker's heartbeat is made old, instead of waiting until it is."""
    done = (200, {"success": True, "workers": 1, "beat": "up"})
    eventually(lambda: work(system) == done, "worker and Beat work")
    worker = system.services.worker
    worker.kill()
    system.rows("UPDATE process_secrets SET works_until = now() WHERE kind = 'worker' RETURNING 1")
    eventually(
        lambda: work(system) == (503, {"success": False, "workers": 0, "beat": "up"}),
        "no worker works",
    )
    worker.start()
    eventually(lambda: work(system) == done, "the new worker works")


class Balancer:
    """Sends each request to one of the webs that were ready when it last looked."""

    def __init__(self, *urls: str) -> None:
        self._urls = urls
        self._next = 0
        self.ready: list[str] = []

    def look(self) -> None:
        """Ask each web whether it is ready. If none seems to be, nothing changes."""
        self.ready = [url for url in self._urls if _is_ready(url)] or self.ready

    def choose(self) -> str:
        """Return the address for the next request, in turn."""
        self._next += 1
        ready = self.ready
        return ready[self._next % len(ready)]


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/health/ready", timeout=5).status_code == 200
    except requests.RequestException:
        return False


class Clients:
    """Clients that send request after request through the balancer, each on a new connection."""

    def __init__(self, balancer: Balancer, home: Household) -> None:
        self._balancer = balancer
        self._headers = {"Authorization": str(home.api.session.headers["Authorization"])}
        self.answered: list[list[str]] = [[], []]
        self.failures: list[object] = []
        self._has_ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send requests while the block runs."""
        threads = [threading.Thread(target=self._send, args=(each,)) for each in self.answered]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._has_ended.set()
            for thread in threads:
                thread.join()

    def wait_for_more(self) -> None:
        """Wait until each client has sent a request that it began after this call."""
        before = [len(each) for each in self.answered]
        eventually(
            lambda: all(
                len(each) >= count + 2 for each, count in zip(self.answered, before, strict=True)
            ),
            "more requests are answered",
        )

    def _send(self, answered: list[str]) -> None:
        while not self._has_ended.wait(0.02):
            url = self._balancer.choose()
            try:
                answer = requests.post(f"{url}/accounts", headers=self._headers, timeout=30)
                answer.raise_for_status()
            except requests.RequestException as error:
                self.failures.append((url, error))
            answered.append(url)


def test_no_request_fails_while_a_web_comes_and_goes(system: LiveSystem, tmp_path: Path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    # It ends at the second SIGTERM: the test waits for the balancer, not for a time.
    env = {**system.stack.environment, "PORT": str(port), "WORKERS": "2", "DRAIN_SECONDS": "600"}
    web = SupervisedProcess(
        "another-web",
        entry_point("web", env),
        env=env,
        logs=tmp_path,
        ready=answers(f"{url}/health/ready"),
    )
    [anna] = system.households("anna")
    balancer = Balancer(system.stack.url, url)
    balancer.look()
    clients = Clients(balancer, anna)
    with clients.running(), web:

        def chooses_it(*, is_chosen: bool) -> bool:
            balancer.look()
            return (url in balancer.ready) == is_chosen

        eventually(lambda: chooses_it(is_chosen=True), "the new web is ready")
        eventually(lambda: url in clients.answered[0] + clients.answered[1], "it gets requests")
        web.ask_to_end()
        eventually(lambda: chooses_it(is_chosen=False), "it isn't ready any more")
        told = requests.get(f"{url}/health/ready", timeout=10)
        assert (told.status_code, told.json()["web"]) == (503, "stopping")
        clients.wait_for_more()
        web.ask_to_end()
        # Gunicorn itself gives running requests 30 s.
        assert web.wait(60) == 0
        clients.wait_for_more()
    assert clients.failures == []
