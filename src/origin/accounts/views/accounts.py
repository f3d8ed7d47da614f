"""The caller's account, and disabling it (contract: http-api, Accounts and login)."""

from flask import Response
from marshmallow import fields

from origin.accounts.service import users
from origin.db.engine import Database
from origin.identity.authentication import (
    current_account_id,
    current_user,
    requires,
    requires_token,
)
from origin.web.blueprint import Blueprint
from origin.web.described import SUBJECT, described
from origin.web.provided import provided
from origin.web.responses import json_response
from origin.web.schema import Schema, SuccessResponse

blueprint = Blueprint("accounts", __name__)


class AccountSchema(Schema):
    """An account that can receive transfers."""

    id = fields.String(metadata=SUBJECT)


class AccountsResponse(SuccessResponse):
    """The caller's accounts."""

    accounts = fields.List(
        fields.Nested(AccountSchema), metadata=described("The accounts of the caller")
    )


class DisabledResponse(SuccessResponse):
    """The account is disabled."""


@blueprint.post("/accounts")
@requires("profile")
@blueprint.response(200, AccountsResponse)
def list_accounts() -> Response:
    """List the ids under which the caller can receive transfers.

    Today it is one: the subject of the caller.
    """
    return json_response({"success": True, "accounts": [{"id": current_user().subject}]})


@blueprint.post("/auth/disable-user")
@requires_token("profile", cached=False)
@blueprint.response(200, DisabledResponse)
def disable_user() -> Response:
    """Disable the caller's account for good.

    Its tokens are not valid any more, it receives nothing, and its GGOs stay. If there is no account,
    or it is disabled already, the answer is the same.
    """
    user_id = current_account_id()
    if user_id is not None:
        users.disable(provided(Database), user_id)
    return json_response({"success": True})
