"""Users who trade, and faults of the peers, so that every panel has something to show."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import requests

from devstack.client import ApiRefusalError
from tests.support.live_system import Household, LiveSystem, hour, new_gsrn

log = logging.getLogger(__name__)


class Traffic:
    """Households that get, sell and retire GGOs until they are stopped."""

    def __init__(self, system: LiveSystem) -> None:
        self._system = system
        self._homes = system.households("anna", "bo")
        for home in self._homes:
            system.subscribe(home)
        self._stopped = threading.Event()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Trade in a thread while the block runs."""
        thread = threading.Thread(target=self._trade_on)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def _trade_on(self) -> None:
        for number in count():
            if self._stopped.wait(0.3):
                return
            # Peers fail on purpose, and servers restart.
            try:
                self.trade(number)
            except (AssertionError, ApiRefusalError, requests.RequestException) as error:
                log.info("A trade failed: %s", error)

    def trade(self, number: int) -> None:
        """Issue a GGO of this hour, sell half of it, retire a part, and look at the lists."""
        anna, bo = self._homes
        address = self._system.issue(anna, number, 100)
        self._system.publish_consumption(anna, number, 100)
        anna.compose(address, transfers=[(50, bo)], retires=[25])
        bo.api.request("/ggo", {"filters": {"category": "stored"}, "limit": 10})
        bo.api.request("/transfers/get-transferred-amount", {"direction": "outbound"})
        self._declare(anna)
        bo.api.request("/ggo/compose", {"address": "unknown", "transfers": [], "retires": []})

    def _declare(self, home: Household) -> None:
        day = {"begin": hour(0).isoformat(), "end": hour(23).isoformat()}
        body = {"gsrn": [home.consumption], "resolution": "day", "beginRange": day}
        home.api.request("/eco-declaration", body)


class Faults:
    """What disturbs the system, one thing after the other."""

    def __init__(self, system: LiveSystem) -> None:
        self._system = system

    def run(self, pause_s: float) -> None:
        """Disturb the system in each way for a while, and let it recover in between."""
        for disturb in (
            self._ledger_is_silent,
            self._datahub_fails,
            self._receiver_fails,
            self._worker_is_killed,
            self._ledger_refuses,
            self._tokens_expire,
        ):
            time.sleep(pause_s)
            self._for_a_while(disturb, pause_s)
        time.sleep(pause_s)

    def _for_a_while(self, disturb: Callable[[], None], pause_s: float) -> None:
        disturb()
        time.sleep(pause_s)
        self._system.clear_faults()
        if self._system.services.worker.pid is None:
            self._system.services.worker.start()

    def _ledger_is_silent(self) -> None:
        self._system.sandbox.ledger.hold()
        self._system.sandbox.ledger.fault("/batches", method="POST", times=5, status=503)
        self._system.sandbox.ledger.fault("/batches", method="POST", times=5, status=429, code=31)

    def _datahub_fails(self) -> None:
        self._system.sandbox.datahub.fault("/measurements/*", times=None, status=500)

    def _receiver_fails(self) -> None:
        self._system.sandbox.receiver.answer(500)

    def _worker_is_killed(self) -> None:
        self._system.services.worker.kill()

    def _ledger_refuses(self) -> None:
        self._system.sandbox.ledger.refuse_next(3)

    def _tokens_expire(self) -> None:
        """One user's token is refreshed as soon as DataHub must be asked, another's refresh is refused."""
        hydra = self._system.sandbox.hydra
        hydra.lifetimes(access_token=1)
        subjects = [self._system.log_in(name)[0] for name in ("carl", "dora")]
        hydra.lifetimes(access_token=3600)
        hydra.revoke(sub=subjects[1])
        time.sleep(2)
        for subject in subjects:
            self._system.add_point(subject, new_gsrn(), "production")
