"""Takes the database back in time: a restored backup, or a lagging standby that is promoted.

Then it does what operators do: start the service in RECOVERY_MODE, run `flask ledger recover`, and
return to normal.
"""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from devstack.processes import ROOT
from devstack.replicated import ReplicatedPostgres, Standby
from tests.support.database import rows
from tests.support.live_system import Household, LiveSystem, hour
from tests.support.lost_data import LostData
from tests.support.waiting import eventually

_FLASK = [sys.executable, "-m", "flask", "--app", "origin.app:create_app()"]
# Smaller than the defaults, because deriving keys takes long, and these tests compose little.
_RECOVER = [*_FLASK, "ledger", "recover", "--reach=200", "--margin=1000", "--rate=1000"]
_DIFFERS, _COULD_NOT_LOOK = 1, 2
_ATTEMPTS = 10
_RECOVER_SECONDS = 300
_TOLD_CHARACTERS = 3000
# How long the service runs on a lagging standby until operators notice.
_UNNOTICED_SECONDS = (0.5, 3)
_ISSUED_SINCE_WH = 500

_HOLDINGS = """
    SELECT address, owner_id, stored, retired, retire_address,
        EXISTS (SELECT FROM ggos part WHERE part.parent_id = ggos.id) AS split
    FROM ggos
"""


class DatabaseLosses:
    """Both kinds of loss. Each is prepared first; the loss itself follows after other faults.

    After the preparation a GGO is issued that the copy of the database lacks.
    """

    def __init__(
        self,
        system: LiveSystem,
        postgres: ReplicatedPostgres,
        homes: list[Household],
        lost_data: LostData,
        chance: random.Random,
    ) -> None:
        self._system, self._postgres = system, postgres
        self._homes = homes
        self._lost_data = lost_data
        self._chance = chance
        self._hour = 1000
        self.kinds: dict[str, Callable[[], Callable[[], None]]] = {
            "restore a backup": self._prepare_backup,
            "promote a lagging standby": self._prepare_standby,
        }

    def prepare(self, kind: str) -> Callable[[], None]:
        """Prepare a loss of this kind; return a function that causes it and recovers from it."""
        strike = self.kinds[kind]()
        self._issue_one_more()
        return strike

    def _prepare_backup(self) -> Callable[[], None]:
        backup = self._postgres.back_up()
        return lambda: self._restore(backup)

    def _restore(self, backup: Path) -> None:
        """Stop all processes first, as operators do, then restore and recover."""
        for process in self._system.processes:
            process.kill()
        self._lose(lambda: self._postgres.restore(backup))
        self._recover()

    def _prepare_standby(self) -> Callable[[], None]:
        standby = Standby(self._postgres)
        standby.start()
        return lambda: self._promote(standby)

    def _promote(self, standby: Standby) -> None:
        """Let the service run on the lagging standby for a while, then recover."""
        with closing(standby):
            standby.cut_off()
            self._wait()
            self._lose(lambda: self._postgres.hand_over_to(standby))
        self._postgres.promote()
        self._wait()
        for process in self._system.processes:
            process.kill()
        self._recover()

    def _lose(self, loss: Callable[[], None]) -> None:
        """Record the owners of all GGOs, and cause the loss."""
        self._lost_data.going_on.set()
        self._lost_data.count += 1
        self._lost_data.owners |= {
            row["address"]: row["owner_id"] for row in rows(self._postgres_uri, _HOLDINGS)
        }
        loss()

    def _recover(self) -> None:
        """Recover, and restart all processes in normal mode without waiting for them."""
        before = self._holdings()
        self._launch(RECOVERY_MODE="1")
        recover(self._system)
        after = self._holdings()
        self._lost_data.recovered |= {
            address for address, row in after.items() if before.get(address) != row
        }
        for process in self._system.processes:
            process.wait_until_ready()
            process.kill()
        self._launch(RECOVERY_MODE="0")
        self._lost_data.going_on.clear()

    def _launch(self, **changes: str) -> None:
        for process in self._system.processes:
            process.env |= changes
            process.launch()

    def _holdings(self) -> dict[str, dict[str, Any]]:
        return {row["address"]: row for row in rows(self._postgres_uri, _HOLDINGS)}

    @property
    def _postgres_uri(self) -> str:
        return self._system.database_uri

    def _issue_one_more(self) -> None:
        home = self._chance.choice(self._homes)
        self._hour += 1
        self._system.wait_for_web()
        ggo = self._system.sandbox.datahub.issue(
            home.production, hour(self._hour), _ISSUED_SINCE_WH
        )
        eventually(
            lambda: rows(self._postgres_uri, f"{_HOLDINGS} WHERE address = %s", ggo["address"]),
            "the GGO that the copy lacks",
            within=60,
        )

    def _wait(self) -> None:
        Event().wait(self._chance.uniform(*_UNNOTICED_SECONDS))


def recover(system: LiveSystem) -> None:
    """Run `flask ledger recover` as the runbook says; AssertionError unless everything is recovered.

    It is repeated if a peer didn't answer, and if users had to log in first, because Hydra doesn't
    accept the old database's tokens any more.
    """
    status, report, told = _run(system.stack.environment)
    if status == _DIFFERS and not (report["unmatched"] or report["differing"]):
        system.wait_for_web()
        for user in {each["subject"] for each in report["not_asked"]}:
            system.log_in_again(user)
        status, _, told = _run(system.stack.environment)
    assert status == 0, told


def _run(environment: Mapping[str, str]) -> tuple[int, dict[str, Any], str]:
    """Run the command; return its exit status, its report and its output."""
    env = {**environment, "RECOVERY_MODE": "1", "PYTHONPATH": str(ROOT / "src")}
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        for _ in range(_ATTEMPTS):
            done = subprocess.run(
                [*_RECOVER, f"--json={report}"],
                env=env,
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=_RECOVER_SECONDS,
                check=False,
            )
            if done.returncode != _COULD_NOT_LOOK:
                break
        told = f"status {done.returncode}\n{done.stderr[-_TOLD_CHARACTERS:]}\n{done.stdout}"
        assert report.exists(), told
        return done.returncode, json.loads(report.read_text()), told
