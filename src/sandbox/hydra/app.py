"""Hydra's endpoints for clients and resource servers (contract: peers, Hydra)."""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from flask import Flask, Response, jsonify, request

from sandbox.faults import status_phrase
from sandbox.hydra.clients import allows_origin, registered
from sandbox.hydra.control import add_control
from sandbox.hydra.errors import OAuthError
from sandbox.hydra.grants import WANTED_SCOPES, Grants, TokenSet
from sandbox.hydra.idtokens import IdTokens
from sandbox.hydra.login import add_login
from sandbox.web import new_app

INVALID_CLIENT = "Client authentication failed."


@dataclass
class Client:
    """The service's client. It authenticates by HTTP basic (client_secret_basic).

    Clients of frontends are public: they have no secret, and must use PKCE.
    """

    id: str
    secret: str
    redirect_uris: set[str] = field(default_factory=set)


class Hydra:
    """The state that the endpoints share."""

    def __init__(
        self,
        client: Client,
        public: Mapping[str, Iterable[str]],
        issuer: str | None,
        *,
        introspect_auth: bool,
    ) -> None:
        self.client = client
        self.public = {client_id: frozenset(uris) for client_id, uris in public.items()}
        self.grants = Grants()
        self.id_tokens = IdTokens()
        self.introspect_auth = introspect_auth
        self._issuer = issuer
        self._registered = frozenset(client.redirect_uris)

    def belongs(self, client_id: str, redirect_uri: str) -> bool:
        """Return whether a redirect URI is registered for a client id."""
        if client_id == self.client.id:
            return redirect_uri in self.client.redirect_uris
        return registered(redirect_uri, self.public.get(client_id, ()))

    def allows_origin(self, origin: str) -> bool:
        """Return whether pages of this origin may fetch tokens: those of public clients."""
        return any(allows_origin(origin, uris) for uris in self.public.values())

    def issuer(self) -> str:
        """Return the issuer's URL, without a trailing slash."""
        return self._issuer or request.host_url.rstrip("/")

    def reset(self) -> None:
        """Forget all tokens, and the redirect URIs added since the start."""
        self.grants.reset()
        self.id_tokens.reset()
        self.client.redirect_uris = set(self._registered)


def create_app(
    client: Client,
    *,
    redirect_uris: Iterable[str] = (),
    public_clients: Mapping[str, Iterable[str]] | None = None,
    issuer: str | None = None,
    introspect_auth: bool = False,
) -> Flask:
    """Return the Hydra application with its control calls.

    `public_clients` maps the ids of frontends' clients to their redirect URIs. `issuer` is the `iss`
    of ID tokens (default: the URL of the request). `introspect_auth`: introspection requires the
    client's credentials.
    """
    client.redirect_uris.update(redirect_uris)
    hydra = Hydra(client, public_clients or {}, issuer, introspect_auth=introspect_auth)
    app = new_app("hydra", error_body=_error_body, reset=hydra.reset)
    add_login(app, hydra.grants, hydra.belongs, public=hydra.public)
    add_control(app, hydra.grants, hydra.id_tokens, client)
    _add_tokens(app, hydra)
    _add_discovery(app, hydra)

    @app.errorhandler(OAuthError)
    def refused(error: OAuthError) -> Response:
        answer = jsonify({"error": error.error, "error_description": error.description})
        answer.status_code = error.status
        if error.status == 401:
            answer.headers["WWW-Authenticate"] = 'Basic realm="hydra"'
        return _uncached(answer)

    return app


def _error_body(status: int, _code: int | None) -> tuple[int, Any]:
    status = status or 500
    return status, {"error": "server_error", "error_description": status_phrase(status)}


def _add_tokens(app: Flask, hydra: Hydra) -> None:
    @app.post("/oauth2/token")
    def token() -> Response:
        client_id = _caller(hydra)
        return _uncached(jsonify(_token_answer(hydra, client_id, _granted(hydra, client_id))))

    @app.after_request
    def allow_public_clients(response: Response) -> Response:
        # As Hydra's CORS does: by a simple request, or after asking for these headers.
        origin = request.headers.get("Origin", "")
        if request.path == "/oauth2/token" and hydra.allows_origin(origin):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            response.headers["Vary"] = "Origin"
        return response

    @app.post("/oauth2/introspect")
    def introspect() -> Response:
        if hydra.introspect_auth:
            _authenticate(hydra.client)
        if "token" not in request.form:
            raise OAuthError("invalid_request", "The token is missing.")
        return _uncached(jsonify(_introspected(hydra, request.form["token"])))

    @app.post("/oauth2/revoke")
    def revoke() -> Response:
        hydra.grants.revoke(request.form.get("token", ""), _caller(hydra))
        return _uncached(Response(status=200))


def _caller(hydra: Hydra) -> str:
    """Return the id of the calling client: a public one by its form field, else ours by its secret."""
    client_id = request.form.get("client_id", "")
    if request.authorization is None and client_id in hydra.public:
        return client_id
    _authenticate(hydra.client)
    return hydra.client.id


def _authenticate(client: Client) -> None:
    """Raise OAuthError 401 unless the request has the client's form-encoded id and secret."""
    given = request.authorization
    if given is None or given.type != "basic":
        raise OAuthError("invalid_client", INVALID_CLIENT, 401)
    name, secret = unquote_plus(given.username or ""), unquote_plus(given.password or "")
    both = hmac.compare_digest(name.encode(), client.id.encode()) & hmac.compare_digest(
        secret.encode(), client.secret.encode()
    )
    if not both:
        raise OAuthError("invalid_client", INVALID_CLIENT, 401)


def _granted(hydra: Hydra, client_id: str) -> TokenSet:
    form = request.form
    if form.get("grant_type") == "authorization_code":
        return hydra.grants.redeem(
            form.get("code", ""),
            client_id,
            form.get("redirect_uri", ""),
            form.get("code_verifier"),
        )
    if form.get("grant_type") == "refresh_token":
        scope = tuple(form["scope"].split()) if form.get("scope") else None
        return hydra.grants.refresh(form.get("refresh_token", ""), client_id, scope)
    raise OAuthError("unsupported_grant_type", "Codes and refresh tokens are taken.")


def _token_answer(hydra: Hydra, client_id: str, tokens: TokenSet) -> dict[str, Any]:
    access = tokens.access
    answer: dict[str, Any] = {
        "access_token": access.value,
        "token_type": "bearer",
        "expires_in": max(int(access.expires_at - access.issued_at), 0),
        "scope": " ".join(access.scope),
    }
    if tokens.refresh is not None:
        answer["refresh_token"] = tokens.refresh.value
    if "openid" in access.scope:
        id_token = hydra.id_tokens.issue(
            issuer=hydra.issuer(),
            audience=client_id,
            sub=access.family.sub,
            nonce=access.family.nonce,
            lifetime=hydra.grants.lifetimes.id_token,
        )
        if id_token is not None:
            answer["id_token"] = id_token
    return answer


def _introspected(hydra: Hydra, value: str) -> dict[str, Any]:
    token = hydra.grants.find(value)
    needed = set(request.form.get("scope", "").split())
    if token is None or not token.active or not needed <= set(token.scope):
        return {"active": False}
    is_access = token.use == "access_token"
    return {
        "active": True,
        "scope": " ".join(token.scope),
        "client_id": token.family.client_id,
        "sub": token.family.sub,
        "exp": int(token.expires_at),
        "iat": token.issued_at,
        "nbf": token.issued_at,
        "iss": hydra.issuer(),
        "token_type": "Bearer" if is_access else "refresh_token",
        "token_use": token.use,
        "aud": [],
        "ext": {},
    }


def _add_discovery(app: Flask, hydra: Hydra) -> None:
    @app.get("/.well-known/jwks.json")
    def jwks() -> Response:
        return jsonify(hydra.id_tokens.jwks())

    @app.get("/.well-known/openid-configuration")
    def configuration() -> Response:
        issuer = hydra.issuer()
        return jsonify(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/oauth2/auth",
                "token_endpoint": f"{issuer}/oauth2/token",
                "jwks_uri": f"{issuer}/.well-known/jwks.json",
                "revocation_endpoint": f"{issuer}/oauth2/revoke",
                "scopes_supported": list(WANTED_SCOPES),
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
                "code_challenge_methods_supported": ["S256"],
            }
        )


def _uncached(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Pragma"] = "no-cache"
    return response
