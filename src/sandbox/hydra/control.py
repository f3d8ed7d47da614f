"""Hydra's control calls: tokens without a login, keys, expiry, faulty ID tokens."""

from dataclasses import asdict
from typing import Protocol

from flask import Flask, Response, jsonify
from pydantic import BaseModel, ConfigDict, Field

from sandbox.hydra.grants import WANTED_SCOPES, Grants
from sandbox.hydra.idtokens import IdTokens, Mode
from sandbox.web import body_of, done


class _Client(Protocol):
    id: str
    redirect_uris: set[str]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Mint(_Body):
    """Asks for a user's tokens: scopes separated by spaces, seconds until they expire."""

    sub: str = Field(min_length=1)
    scope: str = " ".join(WANTED_SCOPES)
    expires_in: float | None = None


class End(_Body):
    """Selects tokens: one, a user's, or (neither given) all."""

    sub: str | None = None
    token: str | None = None


class LifetimeChanges(_Body):
    """New lifetimes in seconds; those left out stay as they are."""

    access_token: float | None = None
    refresh_token: float | None = None
    id_token: float | None = None


class Wrong(_Body):
    """The fault of the next `times` ID tokens (null: of all until changed)."""

    mode: Mode
    times: int | None = Field(default=None, ge=1)


class Rotation(_Body):
    """Asks for a new signing key; `keep_old` keeps the old ones published."""

    keep_old: bool = True


class RedirectUri(_Body):
    """A redirect URI to register."""

    uri: str


def add_control(app: Flask, grants: Grants, id_tokens: IdTokens, client: _Client) -> None:
    """Add Hydra's control calls to its application."""
    _add_token_control(app, grants, client)

    @app.post("/control/id-tokens")
    def go_wrong() -> Response:
        wish = body_of(Wrong)
        id_tokens.go_wrong(wish.mode, wish.times)
        return done()

    @app.post("/control/rotate-keys")
    def rotate() -> Response:
        id_tokens.rotate(keep_old=body_of(Rotation).keep_old)
        return done()

    @app.post("/control/redirect-uris")
    def register() -> Response:
        client.redirect_uris.add(body_of(RedirectUri).uri)
        return done(redirect_uris=sorted(client.redirect_uris))


def _add_token_control(app: Flask, grants: Grants, client: _Client) -> None:
    @app.post("/control/tokens")
    def mint() -> Response:
        wish = body_of(Mint)
        tokens = grants.mint(client.id, wish.sub, tuple(wish.scope.split()), wish.expires_in)
        refresh = None if tokens.refresh is None else tokens.refresh.value
        return done(access_token=tokens.access.value, refresh_token=refresh)

    @app.post("/control/expire")
    def expire() -> Response:
        wish = body_of(End)
        return done(tokens=grants.end(sub=wish.sub, value=wish.token, revoke=False))

    @app.post("/control/revoke")
    def revoke_all() -> Response:
        wish = body_of(End)
        return done(tokens=grants.end(sub=wish.sub, value=wish.token, revoke=True))

    @app.post("/control/lifetimes")
    def lifetimes() -> Response:
        for name, seconds in body_of(LifetimeChanges).model_dump(exclude_none=True).items():
            setattr(grants.lifetimes, name, seconds)
        return jsonify(asdict(grants.lifetimes))
