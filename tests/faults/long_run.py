"""The long fault bench: round after round, each by its own seed, and counts of what was survived.

`make faults ARGS='--minutes 60 --seed 1000'`. A seed that fails is told of, and the run ends with
status 1; add it to `test_sabotage.py`, that it stays mended.
"""

# What this prints is what it is for.
# ruff: noqa: T201

import argparse
import sys
import time
from collections import Counter
from contextlib import ExitStack

from devstack.postgres import EmbeddedPostgres
from devstack.processes import ROOT
from devstack.valkey import EmbeddedValkey
from tests.support.rounds import sabotage_round
from tests.support.town import running_town


def main() -> int:
    """Run for so many minutes; the exit status."""
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("--minutes", type=float, default=10, help="go on for so long")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; then one more")
    parser.add_argument("--rounds", type=int, default=0, help="at most so many; 0: no limit")
    parser.add_argument("--acts", type=int, default=40, help="faults a round")
    arguments = parser.parse_args()
    survived: Counter[str] = Counter()
    composes = rounds = 0
    deadline = time.monotonic() + arguments.minutes * 60
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres())
        valkey = stack.enter_context(EmbeddedValkey())
        logs = ROOT / ".run" / "faults"
        town = stack.enter_context(running_town(postgres.create_database("faults"), valkey, logs))
        while time.monotonic() < deadline and (not arguments.rounds or rounds < arguments.rounds):
            seed = arguments.seed + rounds
            try:
                found = sabotage_round(
                    town, (postgres, valkey), seed, acts=arguments.acts, settled_within=120
                )
            except BaseException:
                print(f"Seed {seed} FAILED, after {rounds} rounds; logs in {logs}", flush=True)
                raise
            rounds += 1
            survived += found.faults
            composes += found.composes
            total = survived.total()
            print(f"{rounds} rounds, {total} faults, {composes} composes survived", flush=True)
    print(f"\n{'FAULT':<28}SURVIVED")
    for name, count in survived.most_common():
        print(f"{name:<28}{count:>8}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
