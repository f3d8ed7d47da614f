"""Closes views while operators recover the database (contract: operations, RECOVERY_MODE)."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from origin.errors import Recovering
from origin.settings import Settings
from origin.web.provided import provided

P = ParamSpec("P")
T = TypeVar("T")


def rests_in_recovery(view: Callable[P, T]) -> Callable[P, T]:
    """Answer 503 while RECOVERY_MODE is set. Place it above `@arguments`.

    :raises Recovering: RECOVERY_MODE is set.
    """

    @wraps(view)
    def resting(*args: P.args, **kwargs: P.kwargs) -> T:
        if provided(Settings).recovery_mode:
            raise Recovering
        return view(*args, **kwargs)

    return resting
