"""Gives views the objects that the composition root made for this app."""

from collections.abc import Iterable
from typing import TypeVar, cast

from flask import Flask, current_app

T = TypeVar("T")

_EXTENSION = "origin_provided"


def provide(app: Flask, things: Iterable[object]) -> None:
    """Let views of this app ask for each of these by its class."""
    app.extensions[_EXTENSION] = {type(thing): thing for thing in things}


def provided(kind: type[T]) -> T:
    """Return the app's one object of this class.

    :raises KeyError: the composition root (`origin.runtime`) provides none.
    """
    return provided_by(current_app, kind)


def provided_by(app: Flask, kind: type[T]) -> T:
    """Return this app's one object of the class, outside a request."""
    return cast("T", app.extensions[_EXTENSION][kind])
