"""Accounts: the caller's own, and its end (contract: http-api, Accounts and login)."""

from flask import Response
from marshmallow import fields

from origin.accounts.service import users
from origin.db.engine import Database
from origin.identity.authentication import current_subject, current_user, requires, requires_token
from origin.web.base import Blueprint, Schema, json_response
from origin.web.provided import provided

blueprint = Blueprint("accounts", __name__)


class AccountSchema(Schema):
    """An account to transfer to."""

    id = fields.String(metadata={"description": "The user's subject"})


class AccountsResponse(Schema):
    """The caller's accounts."""

    success = fields.Boolean()
    accounts = fields.List(fields.Nested(AccountSchema))


class DisabledResponse(Schema):
    """The account is disabled."""

    success = fields.Boolean()


@blueprint.post("/accounts")
@requires("profile")
@blueprint.response(200, AccountsResponse)
def list_accounts() -> Response:
    """List the ids under which the caller can receive transfers."""
    return json_response({"success": True, "accounts": [{"id": current_user().subject}]})


@blueprint.post("/auth/disable-user")
@requires_token("profile", cached=False)
@blueprint.response(200, DisabledResponse)
def disable_user() -> Response:
    """Disable the caller's account for good; again, or without an account, nothing happens."""
    users.disable_subject(provided(Database), current_subject())
    return json_response({"success": True})
