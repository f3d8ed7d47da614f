"""`make rollback-check` says what is wrong with its argument."""

from pathlib import Path

import pytest

from devstack.guarded import ProcessFailedError
from devstack.rollback import take_out


@pytest.mark.parametrize("commit", ["no-such-commit", "--output=/dev/null"])
def test_a_commit_that_is_not_there(tmp_path: Path, commit: str):
    with pytest.raises(ProcessFailedError, match="git archive"):
        take_out(commit, tmp_path)
