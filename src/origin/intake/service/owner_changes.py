"""What to do when a key rotation changes an owner between the look-up and the issue of GGOs."""

from collections.abc import Callable
from typing import TypeVar

from origin.errors import OwnerChanged

T = TypeVar("T")


def retry_if_owner_changes(look_up_and_issue: Callable[[], T]) -> T:
    """Call a function that looks the owner up and issues GGOs, in a transaction of its own.

    If the owner changed in between, nothing was stored, and the function is called once more. A
    rotation changes each user once.

    :raises OwnerChanged: The owner changed again.
    """
    try:
        return look_up_and_issue()
    except OwnerChanged:
        return look_up_and_issue()
