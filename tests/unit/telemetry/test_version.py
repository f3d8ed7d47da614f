"""The version in each log line and among the metrics."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from origin.shared import release
from origin.telemetry.formatters import JsonFormatter
from origin.telemetry.metrics import MULTIPROCESS_VARIABLE, exposition


@pytest.fixture
def revision_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the file in which an image has its revision; it doesn't exist yet."""
    path = tmp_path / "REVISION"
    monkeypatch.setattr(release, "_REVISION_FILE", path)
    release.revision.cache_clear()
    yield path
    release.revision.cache_clear()


def test_each_log_line_has_the_version():
    record = logging.makeLogRecord({"msg": "hello"})
    assert json.loads(JsonFormatter("s").format(record))["version"] == release.VERSION


@pytest.mark.parametrize("is_shared", [False, True], ids=["one process", "several processes"])
def test_a_metric_has_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_shared: bool):
    if is_shared:
        monkeypatch.setenv(MULTIPROCESS_VARIABLE, str(tmp_path))
    lines = exposition().decode().splitlines()
    (found,) = [line for line in lines if line.startswith("account_service_build_info{")]
    assert f'version="{release.VERSION}"' in found
    assert found.endswith(" 1.0")


def test_an_image_knows_its_revision(revision_file: Path):
    revision_file.write_text("0123abc\n")
    assert release.revision() == "0123abc"


@pytest.mark.parametrize("is_empty", [True, False], ids=["an image built without", "no image"])
def test_without_a_revision_it_is_unknown(revision_file: Path, is_empty: bool):
    if is_empty:
        revision_file.write_text("")
    assert release.revision() is None
