"""The long fault bench: runs rounds with successive seeds, and counts the survived faults.

`make faults ARGS='--faults 5000 --seed 1000'`. If a round fails, its seed is printed, and the run ends
with status 1; add the seed to `test_fault_rounds.py` to keep it fixed. On a machine with idle cores,
several runs with seeds far apart can run at the same time.
"""

# A program that prints its results.
# ruff: noqa: T201

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devstack.processes import ROOT
from devstack.replicated import ReplicatedPostgres
from devstack.valkey import EmbeddedValkey
from tests.support.fault_injector import DATABASE_LOSSES, FaultPlan
from tests.support.fault_rounds import HARD_TIMES, RoundResult, fault_round
from tests.support.live_system import LiveSystem, running_system

_SETTLED_WITHIN_SECONDS = 120


@dataclass
class Tally:
    """The results so far."""

    faults: Counter[str] = field(default_factory=Counter)
    gave_up: Counter[str] = field(default_factory=Counter)
    seeds: list[int] = field(default_factory=list)
    orders: int = 0
    failed_seed: int | None = None
    began: float = field(default_factory=time.monotonic)

    def add(self, seed: int, found: RoundResult) -> None:
        """Add a round."""
        self.seeds.append(seed)
        self.faults += found.faults
        self.gave_up += found.gave_up
        self.orders += found.orders

    @property
    def seconds(self) -> float:
        """The duration so far."""
        return time.monotonic() - self.began

    def line(self) -> str:
        """Return a summary in one line."""
        return (
            f"{len(self.seeds)} rounds, {self.faults.total()} faults, {self.orders} orders "
            f"survived in {self.seconds / 60:.1f} minutes"
        )

    def show(self) -> None:
        """Print all counts by fault."""
        print(f"\n{'FAULT':<34}SURVIVED")
        for name, count in self.faults.most_common():
            print(f"{name:<34}{count:>8}")
        print(f"{'all':<34}{self.faults.total():>8}")
        for name, count in self.gave_up.most_common():
            print(f"{name} could not start {count} times because a server was down")

    def write(self, path: Path) -> None:
        """Write all counts as JSON."""
        body = {
            "seeds": self.seeds,
            "failed_seed": self.failed_seed,
            "seconds": round(self.seconds, 1),
            "orders": self.orders,
            "faults": self.faults.total(),
            "by_kind": dict(self.faults.most_common()),
            "gave_up": dict(self.gave_up),
        }
        path.write_text(json.dumps(body, indent=2) + "\n")


def parse_arguments(given: Sequence[str]) -> argparse.Namespace:
    """Read the command line (doc/faults.md)."""
    parser = argparse.ArgumentParser(prog="make faults")
    option = parser.add_argument
    option("--faults", type=int, default=0, help="run until this many faults were survived")
    option("--minutes", type=float, help="longest duration (default: 10 without --faults)")
    option("--rounds", type=int, default=0, help="most rounds; 0: no limit")
    option("--seed", type=int, default=1, help="seed of the first round; it grows by one a round")
    option("--acts", type=int, default=60, help="faults per round")
    option("--only", action="append", default=[], metavar="FAULT", help="may be repeated")
    option("--without", action="append", default=[], metavar="FAULT", help="may be repeated")
    option(
        "--loss-every",
        type=int,
        default=3,
        help="the database goes back in time in every such round; 0: never",
    )
    option(
        "--rounds-per-system",
        type=int,
        default=6,
        help="rounds before all servers start empty again",
    )
    option("--json", type=Path, help="write the counts to this file, too, after each round")
    arguments = parser.parse_args(given)
    if arguments.minutes is None:
        arguments.minutes = float("inf") if arguments.faults else 10
    return arguments


@contextmanager
def _place(logs: Path) -> Iterator[tuple[LiveSystem, tuple[ReplicatedPostgres, EmbeddedValkey]]]:
    """Run a new system and its servers."""
    with ExitStack() as stack:
        postgres = stack.enter_context(ReplicatedPostgres())
        valkey = stack.enter_context(EmbeddedValkey())
        uri = postgres.create_database("faults")
        system = stack.enter_context(running_system(uri, valkey, logs, HARD_TIMES))
        stack.enter_context(system.another_worker(logs))
        yield system, (postgres, valkey)


def plan_of(arguments: argparse.Namespace, seed: int) -> FaultPlan:
    """Return the plan of a round, which depends only on the seed and the arguments."""
    kinds = [
        kind
        for kind in DATABASE_LOSSES
        if kind not in arguments.without and (not arguments.only or kind in arguments.only)
    ]
    every = arguments.loss_every
    database_loss = (
        kinds[seed // every % len(kinds)] if kinds and every and seed % every == 0 else None
    )
    return FaultPlan(arguments.acts, arguments.only, arguments.without, database_loss)


def main() -> int:
    """Run until enough faults were survived or time is up; return the exit status."""
    arguments = parse_arguments(sys.argv[1:])
    tally = Tally()
    logs = ROOT / ".run" / f"faults-{arguments.seed}"

    def over() -> bool:
        enough = arguments.faults and tally.faults.total() >= arguments.faults
        all_rounds = arguments.rounds and len(tally.seeds) >= arguments.rounds
        return bool(enough or all_rounds or tally.seconds > arguments.minutes * 60)

    try:
        while not over():
            with _place(logs) as (system, servers):
                for _ in range(arguments.rounds_per_system):
                    if over():
                        break
                    _round(system, servers, arguments, tally)
    except BaseException:
        print(f"Seed {tally.failed_seed} FAILED, after {tally.line()}; logs in {logs}", flush=True)
        raise
    finally:
        tally.show()
        if arguments.json:
            tally.write(arguments.json)
    return 0 if tally.faults.total() >= arguments.faults else 1


def _round(
    system: LiveSystem,
    servers: tuple[ReplicatedPostgres, EmbeddedValkey],
    arguments: argparse.Namespace,
    tally: Tally,
) -> None:
    seed = arguments.seed + len(tally.seeds)
    # Counts as failed until the round has ended.
    tally.failed_seed = seed
    found = fault_round(
        system, servers, seed, plan_of(arguments, seed), settled_within=_SETTLED_WITHIN_SECONDS
    )
    tally.failed_seed = None
    tally.add(seed, found)
    print(tally.line(), flush=True)
    if arguments.json:
        tally.write(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
