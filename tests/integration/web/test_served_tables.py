"""Tables as a client of our gunicorn worker gets them."""

import csv
import io
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openpyxl
import pytest
import requests

from devstack.environment import inherited
from devstack.ports import LOOPBACK, free_port
from devstack.processes import ROOT, SupervisedProcess, answers
from tests.support.served import peak_memory_mb


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, SupervisedProcess]]:
    """The address of a web that serves tables, and its process."""
    url = f"http://{LOOPBACK}:{free_port()}"
    command = [
        *(
            sys.executable,
            "-m",
            "gunicorn",
            "--workers",
            "1",
            "--bind",
            url.removeprefix("http://"),
        ),
        *("--worker-class", "origin.web.gunicorn.worker.OriginWorker"),
        "tests.support.tables_app:app",
    ]
    with SupervisedProcess(
        "tables",
        command,
        env={**inherited(), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        logs=tmp_path_factory.mktemp("tables"),
        ready=answers(f"{url}/alive"),
    ) as process:
        yield url, process


def test_a_table_arrives_whole(served: tuple[str, SupervisedProcess]):
    url, _ = served
    found = requests.get(f"{url}/table?form=csv&rows=5000", timeout=30)
    assert len(list(csv.reader(io.StringIO(found.content.decode(), newline="")))) == 5001
    found = requests.get(f"{url}/table?form=xlsx&rows=5000", timeout=30)
    book = openpyxl.load_workbook(io.BytesIO(found.content), read_only=True)
    assert sum(1 for _ in book["rows"].rows) == 5001


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_client_sees_that_a_table_broke_off(served: tuple[str, SupervisedProcess], form: str):
    url, _ = served
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(f"{url}/table?form={form}&rows=5000&fails=4999", timeout=30)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_an_error_in_the_first_rows_is_answered(served: tuple[str, SupervisedProcess], form: str):
    url, _ = served
    assert requests.get(f"{url}/table?form={form}&rows=9&fails=1", timeout=30).status_code == 500


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_others_are_answered_meanwhile_and_memory_stays(
    served: tuple[str, SupervisedProcess], form: str
):
    url, process = served
    before = peak_memory_mb(process.pid)
    with ThreadPoolExecutor(1) as reader:
        table = reader.submit(requests.get, f"{url}/table?form={form}&rows=100000", timeout=60)
        answered = 0
        while not table.done():
            assert requests.get(f"{url}/alive", timeout=30).status_code == 200
            answered += not table.done()
    assert len(table.result().content) > 1_000_000
    assert answered >= 3
    assert peak_memory_mb(process.pid) - before < 15
