"""The replicated embedded PostgreSQL: backups, standbys, and lost writes."""

import shutil
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import errors

from devstack.replicated import ReplicatedPostgres, Standby
from tests.support.database import rows
from tests.support.waiting import eventually


@pytest.fixture
def server():
    with ReplicatedPostgres(fsync=False) as running:
        rows(running.uri, "CREATE TABLE seen AS SELECT 1 AS number")
        yield running


def _numbers(server):
    return [row["number"] for row in rows(server.uri, "SELECT number FROM seen ORDER BY number")]


def _add(server, number):
    rows(server.uri, "INSERT INTO seen VALUES (%s)", number)


def test_committed_data_survives_an_immediate_stop(server):
    _add(server, 2)
    server.stop_at_once()
    assert server.pid is None
    server.start()
    assert _numbers(server) == [1, 2]
    assert "was not properly shut down" in server.log.read_text()


@pytest.mark.parametrize(("fsync", "off"), [(True, None), (False, ["fsync"])])
def test_committed_data_survives_a_kill(fsync, off):
    with ReplicatedPostgres(fsync=fsync) as server:
        rows(server.uri, "CREATE TABLE seen AS SELECT 1 AS number")
        server.kill()
        server.start()
        assert _numbers(server) == [1]
        [unsafe] = rows(
            server.uri,
            "SELECT array_agg(name::text) AS names FROM pg_settings WHERE setting = 'off' "
            "AND name IN ('fsync', 'full_page_writes', 'synchronous_commit')",
        )
    assert unsafe["names"] == off


def test_a_backup_may_come_from_another_file_system(server, tmp_path):
    elsewhere = tmp_path / "backup"
    shutil.copytree(server.back_up(), elsewhere)
    server.restore(elsewhere)
    assert _numbers(server) == [1]


def test_a_restored_backup_lacks_later_data(server):
    backup = server.back_up()
    _add(server, 2)
    port = server.port
    server.restore(backup)
    assert _numbers(server) == [1]
    assert server.port == port
    _add(server, 3)


def test_a_lagging_standby_takes_over_at_the_same_address(server):
    with Standby(server) as standby:
        _add(server, 2)
        eventually(lambda: _numbers(standby) == [1, 2], "the standby follows")
        standby.cut_off()
        eventually(
            lambda: not rows(server.uri, "SELECT pid FROM pg_stat_replication"),
            "the standby is disconnected",
        )
        _add(server, 3)
        server.hand_over_to(standby)
    assert _numbers(server) == [1, 2]
    with pytest.raises(errors.ReadOnlySqlTransaction):
        _add(server, 4)
    server.promote()
    _add(server, 4)
    # The promoted server can have a standby, too.
    with Standby(server) as another:
        eventually(lambda: _numbers(another) == [1, 2, 4], "the other standby follows")


def test_a_demoted_server_is_read_only_until_promoted(server):
    server.demote()
    assert _numbers(server) == [1]
    with pytest.raises(errors.ReadOnlySqlTransaction):
        _add(server, 2)
    server.kill()
    server.start()
    with (
        closing(psycopg2.connect(server.uri)) as connection,
        connection.cursor() as cursor,
        pytest.raises(errors.FeatureNotSupported, match="during recovery"),
    ):
        # A session can't override this.
        cursor.execute("SET TRANSACTION READ WRITE")
    server.promote()
    server.promote()
    _add(server, 2)
    assert _numbers(server) == [1, 2]
