"""The database goes back in time: a restored backup, or a lagging standby that was promoted.

What an operator does then is done here, too: the service in RECOVERY_MODE, `flask ledger recover`,
and back to normal.
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
# To derive keys is what takes it long, and nobody here composes as often as the defaults allow for.
_RECOVER = [*_FLASK, "ledger", "recover", "--reach=200", "--margin=1000", "--rate=1000"]
_DIFFERS, _COULD_NOT_LOOK = 1, 2
_ATTEMPTS = 10
_RECOVER_SECONDS = 300
_TOLD_CHARACTERS = 3000
# For so long the service goes on with a standby that lags, until somebody notices.
_UNNOTICED_SECONDS = (0.5, 3)
_ISSUED_SINCE_WH = 500

_HOLDINGS = """
    SELECT address, owner_id, stored, retired, retire_address,
        EXISTS (SELECT FROM ggos part WHERE part.parent_id = ggos.id) AS split
    FROM ggos
"""


class DatabaseLosses:
    """Both kinds. Each is prepared, and strikes when other things have happened since.

    After the preparation a GGO is issued, which the copy of the database doesn't have.
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
        """Get ready for one of the kinds; what is returned has it strike, and recovers from it."""
        strike = self.kinds[kind]()
        self._issue_one_more()
        return strike

    def _prepare_backup(self) -> Callable[[], None]:
        backup = self._postgres.back_up()
        return lambda: self._restore(backup)

    def _restore(self, backup: Path) -> None:
        """All is stopped first, as operators do it."""
        for process in self._system.processes:
            process.kill()
        self._lose(lambda: self._postgres.restore(backup))
        self._recover()

    def _prepare_standby(self) -> Callable[[], None]:
        standby = Standby(self._postgres)
        standby.start()
        return lambda: self._promote(standby)

    def _promote(self, standby: Standby) -> None:
        """The service goes on, on what the standby has, until it is noticed."""
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
        """Note what there was, as far as it is known, and go back in time."""
        self._lost_data.going_on.set()
        self._lost_data.count += 1
        self._lost_data.owners |= {
            row["address"]: row["owner_id"] for row in rows(self._postgres_uri, _HOLDINGS)
        }
        loss()

    def _recover(self) -> None:
        """What takes the service back to normal; at the end of it all processes are starting."""
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
            "the GGO that the copy won't have",
            within=60,
        )

    def _wait(self) -> None:
        Event().wait(self._chance.uniform(*_UNNOTICED_SECONDS))


def recover(system: LiveSystem) -> None:
    """`flask ledger recover`, as the runbook has it; AssertionError unless all is mended.

    Again where a peer didn't answer; and once more where users had to log in first, since Hydra takes
    the tokens no more that the older database has.
    """
    status, report, told = _run(system.stack.environment)
    if status == _DIFFERS and not (report["unmatched"] or report["differing"]):
        system.wait_for_web()
        for user in {each["subject"] for each in report["not_asked"]}:
            system.log_in_again(user)
        status, _, told = _run(system.stack.environment)
    assert status == 0, told


def _run(environment: Mapping[str, str]) -> tuple[int, dict[str, Any], str]:
    """The exit status, the report, and what was told."""
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
