"""No order of restarts and rotations lets a process meet a text that it can't open."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.maintenance.rules.secret_changes import (
    Prefixes,
    next_step,
    why_not_rotate,
    why_not_start,
)

_SECRETS = st.lists(st.sampled_from("abc"), min_size=1, unique=True)
_ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.sampled_from(["web", "worker", "beat"]), _SECRETS),
        st.tuples(st.just("stop"), st.sampled_from(["web", "worker", "beat"]), st.just([])),
        st.tuples(st.just("rotate"), st.just(""), _SECRETS),
    ),
    max_size=30,
)


class _Service:
    """Rows by the secret that sealed them, and running processes with their secrets."""

    def __init__(self) -> None:
        self.rows: set[str] = set()
        self.processes: dict[str, Prefixes] = {}

    def start(self, name: str, secrets: Prefixes) -> bool:
        self.processes.pop(name, None)
        if why_not_start(secrets, self.processes, self.rows, ()) is not None:
            return False
        self.processes[name] = secrets
        self.rows.add(secrets[0])
        return True

    def rotate(self, secrets: Prefixes) -> bool:
        if why_not_rotate(secrets, self.processes) is not None:
            return False
        # Rows that the command can't open stay as they are.
        self.rows = {secrets[0] if each in secrets else each for each in self.rows}
        return True


@given(_ACTIONS)
def test_every_process_can_open_every_row_at_any_time(actions):
    service = _Service()
    for action, name, secrets in actions:
        match action:
            case "start":
                service.start(name, secrets)
            case "stop":
                service.processes.pop(name, None)
            case "rotate":
                service.rotate(secrets)
        for known in service.processes.values():
            assert service.rows <= set(known)


def test_the_recipe_is_never_refused():
    service = _Service()
    names = ("web", "worker", "beat")
    for secrets in (["old"], ["old", "new"], ["new", "old"]):
        assert all(service.start(name, secrets) for name in names)
    assert service.rotate(["new", "old"])
    assert service.rows == {"new"}
    assert all(service.start(name, ["new"]) for name in names)
    assert service.rotate(["new"])


@pytest.mark.parametrize(
    ("own", "others", "needed", "why"),
    [
        (["new", "old"], {"web": ["old"]}, {"old"}, "is unknown to running processes"),
        (["new"], {}, {"old"}, "lacks a secret that encrypts rows"),
        (["old"], {"web": ["new", "old"]}, {"old"}, "with which running processes encrypt"),
        (["new"], {}, {"lost"}, None),
        (["new", "old"], {}, {"old"}, None),
    ],
)
def test_why_a_process_must_not_start(own, others, needed, why):
    found = why_not_start(own, others, needed, {"lost"})
    assert found is None if why is None else why in (found or "")


def test_a_refusal_names_three_processes_at_most():
    processes = {f"web {number}": ["old"] for number in range(5)}
    reason = why_not_rotate(["new", "old"], processes)
    assert reason is not None
    assert reason.endswith("web 0; web 1; web 2; and 2 more")


@pytest.mark.parametrize(
    ("own", "others", "outdated", "step"),
    [
        (["old", "new"], {"web": ["old"]}, 0, "Add secret 2 at the end"),
        (["old", "new"], {"web": ["old", "new"]}, 0, "move it to the front everywhere"),
        (["new", "old"], {"web": ["old", "new"]}, 1, "Move secret 1 to the front"),
        (["new", "old"], {"web": ["new", "old"]}, 1, "Run `flask keys rotate`"),
        (["new", "old"], {"web": ["new", "old"]}, 0, "remove the old secret"),
        (["new"], {"web": ["new"]}, 0, "Nothing."),
    ],
)
def test_the_next_step_of_the_recipe(own, others, outdated, step):
    assert step in next_step(own, others, outdated, lacks_needed=False)


def test_a_missing_secret_comes_first():
    assert "Add the missing secret" in next_step(["new"], {"web": ["old"]}, 3, lacks_needed=True)
