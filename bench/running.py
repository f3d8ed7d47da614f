"""Starts what the bench measures: the service's web, the limit app, and their peers."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.dataset import FOLDER, Dataset, secret
from devstack.environment import inherited, service_environment
from devstack.ports import free_port
from devstack.processes import ROOT, SupervisedProcess, answers, says
from devstack.stack import peers_environment, running_sandbox
from devstack.valkey import EmbeddedValkey
from sandbox.cli import SERVERS
from sandbox.running import Peers

WEBHOOK_SECRET = peers_environment(dict.fromkeys(SERVERS, ""))["WEBHOOK_SECRET"]
WORKERS = 2
"""Processes of each web: the number of cores of a usual small machine."""


@dataclass(frozen=True)
class Service:
    """A web on one database, and its environment variables."""

    port: int
    dataset: Dataset
    process: SupervisedProcess
    peers: Peers
    environment: dict[str, str]

    def token(self, subject: str) -> str:
        """Return an access token of this account with all scopes."""
        return self.peers.hydra.tokens(subject).access

    def worker_pids(self) -> list[int]:
        """Return the ids of the web's worker processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


@contextmanager
def peers_and_redis() -> Iterator[tuple[Peers, EmbeddedValkey]]:
    """Run the sandbox, for tokens, and Redis, for wake-ups, which have no worker here."""
    with ExitStack() as stack:
        peers = stack.enter_context(running_sandbox(redirect_uris=[], logs=FOLDER))
        yield peers, stack.enter_context(EmbeddedValkey())


@contextmanager
def service(
    dataset: Dataset, peers: Peers, redis: EmbeddedValkey, code: Path = ROOT
) -> Iterator[Service]:
    """Run the web on this database by its entry point.

    :param code: The folder with the code; by default, today's.
    """
    port = free_port()
    environment = service_environment(
        database_uri=dataset.uri,
        redis=redis,
        peers=peers_environment(peers.urls),
        port=port,
        changes={"SECRET": secret(), "WORKERS": str(WORKERS), "LOG_LEVEL": "INFO"},
    )
    process = SupervisedProcess(
        f"web-{dataset.size}",
        [code / "entrypoint.web.sh"],
        env=environment,
        logs=FOLDER,
        ready=answers(f"http://127.0.0.1:{port}/health/ready"),
    )
    with process:
        yield Service(port, dataset, process, peers, environment)


@contextmanager
def limit_app(dataset: Dataset, logs: Path = FOLDER) -> Iterator[tuple[int, int]]:
    """Run the limit app (`bench.limit_app`) on this database; yield its port and first process id."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--config", "python:bench.gunicorn_conf"]
    command += ["--workers", str(WORKERS), "--bind", f"127.0.0.1:{port}", "bench.limit_app:app"]
    process = SupervisedProcess(
        "limit-app",
        command,
        env={
            **inherited(),
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "BENCH_DATABASE_URI": dataset.uri,
            "BENCH_WEBHOOK_SECRET": WEBHOOK_SECRET,
        },
        logs=logs,
        ready=answers(f"http://127.0.0.1:{port}/hello"),
    )
    with process:
        assert process.pid is not None
        yield port, process.pid


@contextmanager
def instant_ledger() -> Iterator[str]:
    """Run a ledger that commits everything at once; yield its URL."""
    port = free_port()
    process = SupervisedProcess(
        "instant-ledger",
        [sys.executable, "-m", "bench.instant_ledger", str(port)],
        env={**inherited(), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        logs=FOLDER,
        ready=answers(f"http://127.0.0.1:{port}/batch_statuses?id=none"),
    )
    with process:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def worker(service: Service, ledger_url: str) -> Iterator[SupervisedProcess]:
    """Run a worker for a service's database, with another ledger."""
    process = SupervisedProcess(
        f"worker-{service.dataset.size}",
        [ROOT / "entrypoint.worker.sh"],
        env={**service.environment, "LEDGER_URL": ledger_url},
        logs=FOLDER,
        ready=says(r"worker-\d+@\S+ ready"),
    )
    with process:
        yield process
