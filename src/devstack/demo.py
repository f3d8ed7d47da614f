"""`make demo`: starts the whole system, and shows two users whose GGOs are issued, traded and retired.

With `--once` it ends after that; the exit status is 0 only if every balance is right, both in the
service and on the ledger. Otherwise everything runs until Ctrl-C. Either way it leaves no process
behind, and no data unless DATABASE_URI or REDIS_HOST names a server.
"""

import argparse
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devstack.client import ApiClient, ApiRefusalError, Browser, UnexpectedAnswerError
from devstack.configured import Redis, postgres_server, redis_server
from devstack.console import Console
from devstack.guarded import ProcessFailedError
from devstack.holdings import Holding, Ledger, balance_of, holdings_on_ledger, settled_wh
from devstack.ports import LOOPBACK, wanted_port
from devstack.processes import ROOT
from devstack.scenario import Order, Person, Scenario
from devstack.stack import (
    Stack,
    System,
    free_url,
    redirect_uris,
    running_sandbox,
    running_services,
)
from sandbox.clients import ControlError

_RUN = ROOT / ".run"
_VARIABLES = _RUN / "demo.env"
# Where the documents expect everything; those of `.env.example`.
_SERVICE_PORT = 8085
_PEERS_PORTS = {
    "hydra": 24444,
    "datahub": 24445,
    "energytype": 24446,
    "ledger": 24447,
    "receiver": 24448,
}
_WAIT_SECONDS = 60.0
# The page that a login returns to.
_LANDING = "/health/ready"
_UNDER_WAY = ("queued", "pending")
_COLUMNS = ("issued", "received", "sent", "stored", "retired")


class Demo:
    """Runs the scenario against a running system.

    `has_version_2`: whether its API has version 2. Without it, the bulk order is left out.
    """

    def __init__(
        self,
        system: System,
        console: Console,
        scenario: Scenario | None = None,
        *,
        has_version_2: bool = True,
    ) -> None:
        self._system = system
        self._console = console
        self._scenario = scenario or Scenario()
        self._has_version_2 = has_version_2
        self._apis: dict[str, ApiClient] = {}
        self._right = True

    def run(self) -> bool:
        """Run the scenario; return whether every balance is right. Raises if a step fails."""
        with ExitStack() as stack:
            for person in self._scenario.people:
                self._apis[person.name] = stack.enter_context(closing(self._log_in(person)))
            self._register()
            self._issue()
            before = self._check("Before", self._scenario.before())
            self._trade()
            self._settle(self._scenario.sold())
            self._retire()
            self._settle(self._scenario.retired())
            if self._has_version_2:
                self._give_back()
                after = self._check("After", self._scenario.after())
            else:
                after = self._check("After", self._scenario.retired())
            self._show(before, after)
        return self._right

    def _log_in(self, person: Person) -> ApiClient:
        url = self._system.url
        title = f"{person.name} logs in by the OAuth code flow and gets an API token"
        with self._console.step(title), closing(Browser()) as browser:
            answer = browser.log_in(url, person.subject, f"{url}{_LANDING}")
            if answer.get("success") != "1":
                raise ProcessFailedError(f"{person.name} could not log in: {answer.get('msg')}")
            api = ApiClient(url, self._system.oauth.token(browser, person.subject))
        if api.account() != person.subject:
            raise ProcessFailedError(f"{person.name} got the account of somebody else")
        return api

    def _register(self) -> None:
        datahub = self._system.sandbox.datahub
        points = [point for person in self._scenario.people for point in person.points()]
        gsrns = [point["gsrn"] for point in points]
        with self._console.step(f"{len(points)} metering points, and their keys at DataHub"):
            datahub.subscriptions(count=2 * len(self._scenario.people), wait=_WAIT_SECONDS)
            datahub.add_meteringpoints(points)
            keys = datahub.keys(*gsrns, wait=_WAIT_SECONDS)
            missing = [gsrn for gsrn in gsrns if not keys.get(gsrn)]
            if missing:
                raise ProcessFailedError(f"DataHub got no key for {', '.join(missing)}")

    def _issue(self) -> None:
        datahub = self._system.sandbox.datahub
        measurements, ggos = self._scenario.measurements(), self._scenario.ggos()
        with self._console.step(f"{len(measurements)} measurements of consumption published"):
            datahub.publish_many(measurements)
        with self._console.step(f"{len(ggos)} GGOs issued, and told by webhook"):
            datahub.issue_many(ggos)
            anna = self._apis["Anna"]
            self._console.wait_for(
                "GGOs received",
                lambda: (len(anna.ggos(category="stored")), len(ggos)),
                _WAIT_SECONDS,
            )

    def _trade(self) -> None:
        anna, bo = self._scenario.anna, self._scenario.bo
        orders = list(self._scenario.annas_orders())
        with self._console.step(f"Anna sells wind to Bo and retires her own, {len(orders)} times"):
            self._compose("Anna", orders, anna.consumption_gsrn, bo.subject)

    def _retire(self) -> None:
        bo = self._scenario.bo
        orders = list(self._scenario.bos_orders())
        with self._console.step(f"Bo retires what his house used, {len(orders)} times"):
            self._compose("Bo", orders, bo.consumption_gsrn)

    def _give_back(self) -> None:
        """Have Bo sell by a bulk order, which waits until the ledger has committed it."""
        bo = self._apis["Bo"]
        with self._console.step("Bo sells half of the rest of day two to Anna, in one bulk order"):
            operation = bo.order("/v2/transfers", self._scenario.bos_bulk_order())
            deadline = time.monotonic() + _WAIT_SECONDS
            while operation["status"] in _UNDER_WAY and time.monotonic() < deadline:
                operation = bo.get(operation["links"]["self"], wait_s=10)
        status, totals = operation["status"], operation["totals"]
        self._console.say(
            f"    operation {operation['id']}: {totals['ggos']} GGOs, "
            f"{totals['completed']:,} Wh, {status}"
        )
        if (status, totals["completed"]) != ("completed", self._scenario.given_back()):
            raise ProcessFailedError(f"Bo's bulk order is {status}: {totals}")

    def _compose(
        self, name: str, orders: Sequence[Order], gsrn: str, buyer: str | None = None
    ) -> None:
        api = self._apis[name]
        addresses = {ggo["begin"]: ggo["address"] for ggo in api.ggos(category="stored")}
        for number, order in enumerate(orders, start=1):
            api.compose(
                addresses[order.begin.isoformat()],
                transfers=_parts(order.sold, account=buyer, reference="wind"),
                retires=_parts(order.retired, gsrn=gsrn),
            )
            self._console.bar("composed", number, len(orders))

    def _settle(self, expected: Mapping[str, Holding]) -> None:
        """Wait until the API lists everything that is expected as confirmed by the ledger."""
        total = sum(each.stored + each.retired for each in expected.values())

        def settled() -> tuple[int, int]:
            right = 0
            for name, api in self._apis.items():
                stored, retired = settled_wh(api)
                right += min(stored, expected[name].stored) + min(retired, expected[name].retired)
            return right, total

        with self._console.step("The ledger commits"):
            self._console.wait_for("Wh settled", settled, _WAIT_SECONDS)

    def _check(self, when: str, expected: Mapping[str, Holding]) -> dict[str, Holding]:
        """Compare the API's and the ledger's amounts with the expected ones; return the ledger's."""
        with closing(Ledger(self._system.sandbox.urls["ledger"])) as ledger:
            on_ledger = holdings_on_ledger(self._apis, ledger)
        for name, api in self._apis.items():
            if on_ledger[name] != expected[name]:
                self._complain(
                    f"{when}: on the ledger {name} has {on_ledger[name]}", expected[name]
                )
            totals = {
                column: api.total_wh(category=column) for column in ("issued", "stored", "retired")
            }
            if any(getattr(expected[name], column) != wh for column, wh in totals.items()):
                self._complain(f"{when}: in the API {name} has {totals}", expected[name])
            if self._has_version_2 and (balance := balance_of(api)) != expected[name]:
                self._complain(f"{when}: the balance of {name} is {balance}", expected[name])
        return on_ledger

    def _complain(self, found: str, expected: Holding) -> None:
        self._right = False
        self._console.say(f"  ✗ {found}, expected {expected}")

    def _show(self, before: Mapping[str, Holding], after: Mapping[str, Holding]) -> None:
        self._console.say()
        self._console.table(
            ("Wh", "", *_COLUMNS),
            [
                (name, when, *(getattr(holdings[name], column) for column in _COLUMNS))
                for name in self._apis
                for when, holdings in (("before", before), ("after", after))
            ],
        )
        self._console.say()
        if self._right:
            self._console.say("  Every balance is right, in the service and on the ledger.")

    def variables(self) -> dict[str, str]:
        """Return what one needs to try the API, by the names of environment variables.

        Each person has a new access token, which is valid for an hour.
        """
        anna, bo = self._scenario.people
        return {
            "SERVICE": self._system.url,
            **{name.upper(): url for name, url in self._system.sandbox.urls.items()},
            "ANNA": anna.subject,
            "ANNA_TOKEN": self._token(anna),
            "ANNA_PRODUCTION": anna.production_gsrn or "",
            "ANNA_CONSUMPTION": anna.consumption_gsrn,
            "BO": bo.subject,
            "BO_TOKEN": self._token(bo),
            "BO_CONSUMPTION": bo.consumption_gsrn,
        }

    def _token(self, person: Person) -> str:
        with closing(Browser()) as browser:
            return self._system.oauth.token(browser, person.subject)


def exports(variables: Mapping[str, str]) -> str:
    """Return the commands that export these variables in a shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _parts(wh: int, **others: Any) -> Iterable[dict[str, Any]]:
    """Return a compose's list of parts for an amount: one part, or none for 0 Wh."""
    return [{"amount": wh, **others}] if wh else []


@contextmanager
def _system(console: Console, logs: Path, *, known_ports: bool) -> Iterator[Stack]:
    """Run all servers and processes, and show each step.

    `known_ports`: use the ports that the documents name, as far as they are free.
    """
    url = f"http://{LOOPBACK}:{wanted_port(_SERVICE_PORT)}" if known_ports else free_url()
    ports = {name: wanted_port(port) for name, port in _PEERS_PORTS.items()} if known_ports else {}
    with ExitStack() as stack:
        with console.step(_server_title("PostgreSQL", "DATABASE_URI")):
            postgres = stack.enter_context(postgres_server())
            configured = os.environ.get("DATABASE_URI")
            database_uri = configured or postgres.create_database("origin")
        with console.step(_server_title("Redis", "REDIS_HOST")):
            redis: Redis = stack.enter_context(redis_server())
        with console.step("The peers: Hydra, DataHub, EnergyType, the ledger, a receiver"):
            sandbox = stack.enter_context(
                running_sandbox(redirect_uris=redirect_uris(url), logs=logs, ports=ports)
            )
        with console.step("Migrations, then web, worker and beat"):
            running = stack.enter_context(
                running_services(url, sandbox, database_uri=database_uri, redis=redis, logs=logs)
            )
        yield running


def _server_title(name: str, variable: str) -> str:
    return f"{name} ({f'of {variable}' if os.environ.get(variable) else 'embedded'})"


def _invite(console: Console, stack: Stack, token: str, logs: Path) -> None:
    """Print what there is to try while everything runs."""
    console.say()
    console.say(f"  The service        {stack.url}")
    for name, url in stack.sandbox.urls.items():
        console.say(f"  {name:<18} {url}")
    console.say(f"  Logs               {logs.relative_to(ROOT)}")
    console.say()
    console.say("  To log in with a browser, with any account id:")
    console.say(f"    {stack.url}/auth/login?returnUrl={stack.url}{_LANDING}")
    console.say("  To try the API, in another terminal (doc/getting-started.md goes on from here):")
    console.say(f"    cd {shlex.quote(str(ROOT))} && . {_VARIABLES.relative_to(ROOT)}")
    console.say(
        '    curl -s $SERVICE/ggo -H "Authorization: Bearer $ANNA_TOKEN" --json \''
        '{"filters": {"category": "stored"}, "limit": 3}\''
    )
    console.say('    curl -s $SERVICE/v2/balances -H "Authorization: Bearer $ANNA_TOKEN"')
    console.say("  Anna's access token, valid for an hour:")
    console.say(f"    TOKEN={token}")
    console.say()
    console.say("  Ctrl-C stops everything.")


def _end(_number: int, _frame: object) -> None:
    # A second signal must not interrupt the shutdown.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    """Run the demo; return the exit status, 0 only if every balance is right."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the scenario")
    once = parser.parse_args(arguments).once
    # SIGTERM stops the demo like Ctrl-C. SIGINT needs a handler, too, because shells make background
    # processes ignore it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    console = Console()
    logs = _new_folder()
    try:
        right = _run(console, logs, once=once)
    except KeyboardInterrupt:
        console.say()
        return 130 if once else 0
    except (ProcessFailedError, ApiRefusalError, UnexpectedAnswerError, ControlError) as error:
        console.say(f"  ✗ {error}")
        right = False
    if right:
        shutil.rmtree(logs)
        return 0
    console.say(f"    The logs are in {logs.relative_to(ROOT)}.")
    return 1


def _run(console: Console, logs: Path, *, once: bool) -> bool:
    """Start everything, and run the scenario; return whether every balance is right."""
    begin = time.monotonic()
    with _system(console, logs, known_ports=not once) as stack:
        is_new = not os.environ.get("DATABASE_URI")
        demo = Demo(stack, console, Scenario(in_new_database=is_new))
        right = demo.run()
        console.say(f"  It took {time.monotonic() - begin:.0f} s.")
        if not once:
            variables = demo.variables()
            with _written(exports(variables)):
                _invite(console, stack, variables["ANNA_TOKEN"], logs)
                signal.pause()
    return right


@contextmanager
def _written(commands: str) -> Iterator[None]:
    """Keep the variables in a file for the shells of this user, while the demo runs."""
    _VARIABLES.unlink(missing_ok=True)
    _VARIABLES.touch(mode=0o600)
    _VARIABLES.write_text(commands)
    try:
        yield
    finally:
        # Another demo in this clone may have replaced it.
        if _VARIABLES.exists() and _VARIABLES.read_text() == commands:
            _VARIABLES.unlink()


def _new_folder() -> Path:
    """Create a folder for this run's logs; several runs can share a clone."""
    _RUN.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}-", dir=_RUN))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
