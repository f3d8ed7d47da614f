"""The primary of Redis dies, a Sentinel elects another, and the processes follow without a restart.

All secrets of this system come from files, as containers mount them.
"""

from pathlib import Path

from devstack.ports import free_port
from devstack.postgres import EmbeddedPostgres
from devstack.valkey import EmbeddedSentinel, EmbeddedValkey
from tests.support.live_system import running_system
from tests.support.redis_failover import (
    MASTER_NAME,
    check_failover,
    check_logs,
    secrets_in_files,
    secrets_of_a_system,
    sentinel_environment,
)


def test_processes_follow_the_new_primary(own_postgres: EmbeddedPostgres, tmp_path: Path):
    uri = own_postgres.create_database("sentinel")
    with (
        EmbeddedValkey() as primary,
        EmbeddedValkey(primary=primary) as replica,
        EmbeddedSentinel(MASTER_NAME, primary) as sentinel,
    ):
        given = secrets_of_a_system(uri, primary, sentinel)
        variables = sentinel_environment([sentinel]) | secrets_in_files(tmp_path, given)
        # One Sentinel of the list is out of reach.
        variables["WORKERS"] = "1"
        variables["REDIS_SENTINELS"] = f"127.0.0.1:{free_port()},{variables['REDIS_SENTINELS']}"
        with running_system(uri, primary, tmp_path, variables) as system:
            check_failover(system, primary.kill)
            check_logs(system, [primary.password, sentinel.password, given["SECRET"]])
        with replica.client() as client:
            assert client.role()[0] == b"master"
