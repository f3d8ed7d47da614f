"""When KEY_ENCRYPTION_SECRETS may change, and what to do next (decision 33).

A secret is known here by its prefix: how the texts begin that it has sealed. The first of a process's
prefixes is that of the secret with which it seals.
"""

from collections.abc import Collection, Mapping, Sequence

Prefixes = Sequence[str]
Processes = Mapping[str, Prefixes]
"""The prefixes of running processes, by the process's name."""


def missing(own: Prefixes, needed: Collection[str], lost: Collection[str]) -> set[str]:
    """Return the secrets that rows need and a process lacks, except those declared lost."""
    return set(needed) - set(own) - set(lost)


def lacking(secret: str, processes: Processes) -> list[str]:
    """Return the processes that can't open what this secret seals."""
    return [name for name, prefixes in processes.items() if secret not in prefixes]


def sealing_beyond(own: Prefixes, processes: Processes) -> list[str]:
    """Return the processes that seal with a secret that isn't among one's own."""
    return [name for name, prefixes in processes.items() if prefixes[0] not in own]


def sealing_otherwise(secret: str, processes: Processes) -> list[str]:
    """Return the processes that seal with another secret."""
    return [name for name, prefixes in processes.items() if prefixes[0] != secret]


def why_not_start(
    own: Prefixes, processes: Processes, needed: Collection[str], lost: Collection[str]
) -> str | None:
    """Return why a process with these secrets must not start; None if it may."""
    if missing(own, needed, lost):
        return (
            "KEY_ENCRYPTION_SECRETS lacks a secret that encrypts rows of the database: add it at "
            "the end. Remove a secret only after `flask keys rotate`"
        )
    if names := lacking(own[0], processes):
        return (
            "The first of KEY_ENCRYPTION_SECRETS is unknown to running processes, which could not "
            f"decrypt what it encrypts: add it at the end everywhere first ({_listed(names)})"
        )
    if names := sealing_beyond(own, processes):
        return (
            "KEY_ENCRYPTION_SECRETS lacks the secret with which running processes encrypt: add it "
            f"at the end ({_listed(names)})"
        )
    return None


def why_not_rotate(own: Prefixes, processes: Processes) -> str | None:
    """Return why rows must not be sealed anew with the first secret; None if they may."""
    if names := lacking(own[0], processes):
        return (
            "Running processes don't know the first of this command's KEY_ENCRYPTION_SECRETS. Add "
            f"it at the end of theirs, and restart them: {_listed(names)}"
        )
    if names := sealing_otherwise(own[0], processes):
        return (
            "Running processes still encrypt with another secret. Move this command's first secret "
            f"to the front of theirs, and restart them: {_listed(names)}"
        )
    return None


def next_step(own: Prefixes, processes: Processes, outdated: int, *, lacks_needed: bool) -> str:
    """Return what an operator has to do next, in one sentence or two.

    :param outdated: Rows that the first secret hasn't sealed.
    :param lacks_needed: Whether rows need a secret that isn't among `own`.
    """
    if lacks_needed:
        return "Add the missing secret at the end of KEY_ENCRYPTION_SECRETS."
    for number, secret in enumerate(own, 1):
        if names := lacking(secret, processes):
            return f"Add secret {number} at the end of KEY_ENCRYPTION_SECRETS of {_listed(names)}."
    if names := sealing_otherwise(own[0], processes):
        return f"Move secret 1 to the front of KEY_ENCRYPTION_SECRETS of {_listed(names)}."
    if outdated:
        return "Run `flask keys rotate`."
    if len(own) > 1:
        return (
            "To rotate to another secret, move it to the front everywhere. If you have just "
            "rotated, wait an hour, and remove the old secret."
        )
    return "Nothing."


def _listed(names: Sequence[str]) -> str:
    """Name at most three processes."""
    more = f"; and {len(names) - 3} more" if len(names) > 3 else ""
    return "; ".join(names[:3]) + more
