"""The authorization endpoint: checks the request, shows the login page, redirects back."""

from collections.abc import Callable, Container
from typing import TypeVar
from urllib.parse import urlencode

from flask import Flask, Response, make_response, redirect, render_template_string, request
from werkzeug.wrappers import Response as BaseResponse

from sandbox.hydra.errors import OAuthError
from sandbox.hydra.grants import WANTED_SCOPES, AuthRequest, Grants

MIN_STATE_LENGTH = 8
"""The shortest `state` that Hydra accepts."""

R = TypeVar("R", bound=BaseResponse)

ClientCheck = Callable[[str, str], bool]
"""Tells, for a client id and a redirect URI, whether the URI is registered for the client."""

_STYLE = """
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 28rem; margin: 4rem auto; padding: 0 1rem }
  form { border: 1px solid #bbb; border-radius: 8px; padding: 1.5rem }
  input[name=subject] { font: inherit; width: 100%; box-sizing: border-box; padding: .4rem }
  button { font: inherit; padding: .4rem 1.2rem; margin-right: .5rem }
  small { color: #555 }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Sign in · sandbox</title><style>{{ style }}</style></head>
<body>
<h1>Sign in</h1>
{% if problem %}<p role="alert"><strong>{{ problem }}</strong></p>{% endif %}
<form method="post" action="?{{ query }}">
  <p><label>Account id (subject)<br>
  <input name="subject" required autofocus value="{{ subject }}"></label></p>
  <p>{{ client }} asks for:</p>
  {% for scope in scopes %}
  <label><input type="checkbox" name="scope" value="{{ scope }}" checked> {{ scope }}</label><br>
  {% endfor %}
  <p><button name="action" value="accept">Accept</button>
  <button name="action" value="decline" formnovalidate>Decline</button></p>
</form>
<p><small>Any account id will do: this is a sandbox.</small></p>
</body>
</html>
"""

_REFUSED = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Refused · sandbox</title><style>{{ style }}</style></head>
<body><h1>Refused</h1><p><code>{{ error }}</code>: {{ description }}</p></body>
</html>
"""


def add_login(
    app: Flask, grants: Grants, belongs: ClientCheck, *, public: Container[str] = ()
) -> None:
    """Add `GET` (the page) and `POST` (its form) of `/oauth2/auth`.

    `public`: the ids of public clients, which must use PKCE.
    """

    @app.get("/oauth2/auth")
    def ask() -> BaseResponse:
        return _respond(belongs, public, lambda wish: _asked(grants, wish))

    @app.post("/oauth2/auth")
    def answer() -> BaseResponse:
        return _respond(belongs, public, lambda wish: _answered(grants, wish))


def _respond(
    belongs: ClientCheck, public: Container[str], proceed: Callable[[AuthRequest], BaseResponse]
) -> BaseResponse:
    client_id = request.args.get("client_id", "")
    redirect_uri = request.args.get("redirect_uri", "")
    if not belongs(client_id, redirect_uri):
        # Never redirect to a URI that isn't registered.
        return _refused(
            "invalid_request",
            "The client is unknown, or the redirect_uri is none of those registered for it.",
        )
    try:
        return proceed(_checked(client_id, redirect_uri, needs_pkce=client_id in public))
    except OAuthError as error:
        return _back(
            redirect_uri, error=error.error, error_description=error.description, state=_state()
        )


def _checked(client_id: str, redirect_uri: str, *, needs_pkce: bool) -> AuthRequest:
    """Return the validated request; an OAuthError is reported to the client by redirect."""
    query = request.args
    if query.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "The response_type is code.")
    scope = tuple(query.get("scope", "").split())
    unknown = [one for one in scope if one not in WANTED_SCOPES]
    if unknown:
        raise OAuthError("invalid_scope", f"There is no scope {unknown[0]}.")
    if len(_state()) < MIN_STATE_LENGTH:
        raise OAuthError("invalid_state", "The state is missing or too short to be safe.")
    challenge = query.get("code_challenge")
    if challenge is not None and query.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "The code_challenge_method is S256.")
    if needs_pkce and challenge is None:
        raise OAuthError("invalid_request", "A public client must use PKCE.")
    return AuthRequest(client_id, redirect_uri, scope, _state(), query.get("nonce"), challenge)


def _asked(grants: Grants, wish: AuthRequest) -> BaseResponse:
    hint = request.args.get("login_hint")
    return _granted(grants, wish, hint, wish.scope) if hint else _page(wish, "")


def _answered(grants: Grants, wish: AuthRequest) -> BaseResponse:
    action = request.form.get("action")
    if action == "decline":
        raise OAuthError("access_denied", "The resource owner denied the request.")
    subject = request.form.get("subject", "").strip()
    if action != "accept" or not subject:
        return _page(wish, "Give an account id, and accept or decline.")
    ticked = set(request.form.getlist("scope"))
    return _granted(grants, wish, subject, tuple(one for one in wish.scope if one in ticked))


def _granted(
    grants: Grants, wish: AuthRequest, subject: str, scope: tuple[str, ...]
) -> BaseResponse:
    code = grants.consent(wish, subject, scope)
    return _back(wish.redirect_uri, code=code, scope=" ".join(scope), state=wish.state)


def _page(wish: AuthRequest, problem: str) -> Response:
    page = render_template_string(
        _PAGE,
        style=_STYLE,
        problem=problem,
        query=request.query_string.decode(),
        subject=request.form.get("subject", ""),
        client=wish.client_id,
        scopes=wish.scope,
    )
    return _uncached(make_response(page, 400 if problem else 200))


def _refused(error: str, description: str) -> Response:
    page = render_template_string(_REFUSED, style=_STYLE, error=error, description=description)
    return _uncached(make_response(page, 400))


def _back(redirect_uri: str, **parameters: str) -> BaseResponse:
    joiner = "&" if "?" in redirect_uri else "?"
    return _uncached(redirect(f"{redirect_uri}{joiner}{urlencode(parameters)}", 303))


def _uncached(response: R) -> R:
    response.headers["Cache-Control"] = "no-store"
    return response


def _state() -> str:
    return request.args.get("state", "")
