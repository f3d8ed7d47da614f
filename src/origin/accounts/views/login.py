"""Logins with a browser (contract: http-api, Accounts and login)."""

from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

from flask import Response, request
from marshmallow import EXCLUDE, ValidationError
from werkzeug.exceptions import MethodNotAllowed

from origin.accounts.rules import (
    MAX_LENGTH,
    LoginStateUnknown,
    ReturnUrlNotAllowed,
    with_result,
)
from origin.accounts.service import login
from origin.accounts.service.login import Logins
from origin.errors import SchemaViolated
from origin.settings import Settings
from origin.web.blueprint import Blueprint
from origin.web.described import described, rejects
from origin.web.fields import Text
from origin.web.provided import provided
from origin.web.schema import Schema

blueprint = Blueprint("login", __name__)

LOGIN_PATH = "/auth/login"
BROWSER_COOKIE = "account_service_login"


class Query(Schema):
    """The parameters of a URL. Unknown ones are ignored."""

    class Meta:
        """Options of marshmallow's."""

        unknown = EXCLUDE

    def handle_error(self, error: ValidationError, data: Any, **_: Any) -> NoReturn:
        """Reject the query by its parameters' names."""
        del data
        raise SchemaViolated(cast("dict[str, Any]", error.messages)) from error


class LoginQuery(Query):
    """The parameters that begin a login."""

    returnUrl = Text(  # noqa: N815 - the wire's name
        required=True,
        max_length=MAX_LENGTH,
        metadata=described(
            "The page to which the login leads back: of an origin in LOGIN_RETURN_ORIGINS",
            "https://app.example/home",
            format="uri",
        ),
    )


class CallbackQuery(Query):
    """Hydra's parameters at the end of a login. Others (`scope`, `iss`) are not needed."""

    state = Text(
        required=True,
        metadata=described("Ties this request to the login that the browser began", "bB3nJ0QmVw"),
    )
    code = Text(
        max_length=MAX_LENGTH,
        metadata=described("The authorization code, which is exchanged for tokens", "qX8sTz1f"),
    )
    error = Text(
        max_length=MAX_LENGTH,
        metadata=described("Hydra's error code if the login failed", "access_denied"),
    )


_HEADERS = {
    "Location": {
        "description": "The next URL",
        "schema": {"type": "string", "format": "uri"},
        "example": "https://app.example/home?success=1",
    },
    "Cache-Control": {
        "description": "Nothing may store the answer",
        "schema": {"type": "string"},
        "example": "no-store",
    },
}


@blueprint.before_request
def _reject_head() -> None:
    """Answer 405 to HEAD: a link checker or a preview would use up the login's state."""
    if request.method == "HEAD":
        raise MethodNotAllowed(valid_methods=["GET", "OPTIONS"])


@blueprint.after_request
def _never_store(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get(LOGIN_PATH)
@rejects(ReturnUrlNotAllowed())
@blueprint.arguments(LoginQuery, location="query", as_kwargs=True)
@blueprint.response(303, headers=_HEADERS, description="Redirects the browser")
def begin_login(returnUrl: str) -> Response:  # noqa: N803 - the wire's name
    """Send the browser to Hydra to log in.

    A frontend sends its user's browser here. The first login creates the account.
    """
    # One cookie for all logins of a browser, which may run side by side.
    browser_id = _browser_id() or login.new_browser_id()
    response = _see_other(provided(Logins).begin(returnUrl, browser_id))
    project_url = urlsplit(provided(Settings).project_url)
    response.set_cookie(
        BROWSER_COOKIE,
        browser_id,
        max_age=login.STATE_LIVES,
        path=project_url.path + LOGIN_PATH,
        secure=project_url.scheme == "https",
        httponly=True,
        samesite="Lax",
    )
    return response


@blueprint.get(login.CALLBACK_PATH)
@rejects(LoginStateUnknown())
@blueprint.arguments(CallbackQuery, location="query", as_kwargs=True)
@blueprint.response(303, headers=_HEADERS, description="Redirects the browser")
def complete_login(state: str, code: str | None = None, error: str | None = None) -> Response:
    """Finish a login when Hydra sends the browser back.

    The redirect leads to the `returnUrl` with `success=1`, or with `success=0` and `msg` if the login
    failed.
    """
    try:
        return_url = provided(Logins).complete(
            state=state, browser_id=_browser_id() or "", code=code, error=error
        )
    except login.LoginFailed as failure:
        outcome = {"success": "0", "msg": failure.message}
        return _see_other(with_result(failure.return_url, outcome))
    return _see_other(with_result(return_url, {"success": "1"}))


def _browser_id() -> str | None:
    """Return the cookie's browser id, None if it is missing or malformed."""
    value = request.cookies.get(BROWSER_COOKIE, "")
    return value if login.is_browser_id(value) else None


def _see_other(url: str) -> Response:
    return Response(status=303, headers={"Location": url})
