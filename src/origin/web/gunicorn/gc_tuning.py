"""How often Python looks for cycles of objects that hold each other."""

import gc

_MANY = 10_000
"""New objects before it looks; Python's own 700 have a large answer walked through again and again."""


def collect_seldom() -> None:
    """Let what is loaded be kept for good, and look for cycles less often; called once, after loading.

    Looking for cycles among millions of numbers finds none; it costs a few megabytes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MANY, *gc.get_threshold()[1:])
