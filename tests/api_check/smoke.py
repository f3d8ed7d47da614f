"""A client of the service that uses the code that openapi-python-client generates.

It logs in at Hydra, lists, composes, and reads an error. It prints what it saw as JSON.
"""

import base64
import datetime as dt
import hashlib
import json
import os
import secrets
from urllib.parse import parse_qs, urlsplit

import httpx
from account_service_client import AuthenticatedClient
from account_service_client.api.accounts import list_accounts
from account_service_client.api.environment_declarations import export_declaration
from account_service_client.api.forecasts import list_forecasts, submit_forecast
from account_service_client.api.ggo import compose_ggo, list_ggos, sum_ggos, summarize_ggos
from account_service_client.models import (
    AccountsResponse,
    Category,
    ComposeRequest,
    DoneResponse,
    Error,
    FieldErrors,
    ForecastListRequest,
    ForecastListResponse,
    ForecastSubmission,
    ForecastSubmitted,
    Ggo,
    GgoFilters,
    GgoListRequest,
    GgoListResponse,
    Order,
    Resolution,
    SummaryRequest,
    SummaryResponse,
    TotalRequest,
    TotalResponse,
    Transfer,
)

SCOPES = "openid profile ggo.read ggo.transfer ggo.retire"


def token() -> str:
    """Log in by the code flow with PKCE, and return an access token."""
    hydra, redirect_uri = os.environ["HYDRA_URL"], os.environ["REDIRECT_URI"]
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    digest = hashlib.sha256(verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": os.environ["CLIENT_ID"],
        "redirect_uri": redirect_uri,
        "scope": SCOPES,
        "state": state,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        # The sandbox asks no more then.
        "login_hint": os.environ["SUBJECT"],
    }
    with httpx.Client(trust_env=False) as http:
        redirect = http.get(f"{hydra}/oauth2/auth", params=query)
        back = parse_qs(urlsplit(redirect.headers["Location"]).query)
        assert back["state"] == [state]
        form = {
            "grant_type": "authorization_code",
            "code": back["code"][0],
            "redirect_uri": redirect_uri,
            "client_id": os.environ["CLIENT_ID"],
            "code_verifier": verifier,
        }
        return str(http.post(f"{hydra}/oauth2/token", data=form).json()["access_token"])


def stored(client: AuthenticatedClient) -> list[Ggo]:
    """Return the GGOs that can be spent."""
    body = GgoListRequest(
        filters=GgoFilters(category=Category.STORED), order=[Order.BEGIN_DESCENDING]
    )
    listed = list_ggos.sync(client=client, body=body)
    assert isinstance(listed, GgoListResponse), listed
    return listed.results


def trade(client: AuthenticatedClient, ggo: Ggo) -> None:
    """Transfer 100 Wh, and look at the sums."""
    part = Transfer(amount=100, account=os.environ["RECIPIENT"], reference="wind")
    order = ComposeRequest(address=ggo.address, transfers=[part])
    done = compose_ggo.sync(client=client, body=order, idempotency_key=secrets.token_hex(8))
    assert isinstance(done, DoneResponse), done
    assert done.success
    filters = GgoFilters(category=Category.STORED)
    total = sum_ggos.sync(client=client, body=TotalRequest(filters=filters))
    assert isinstance(total, TotalResponse), total
    assert total.amount == int(os.environ["AMOUNT"]) - 100
    summary = summarize_ggos.sync(
        client=client, body=SummaryRequest(resolution=Resolution.ALL, filters=filters)
    )
    assert isinstance(summary, SummaryResponse), summary
    assert summary.groups[0].values == [total.amount]


def fail(client: AuthenticatedClient, ggo: Ggo) -> None:
    """Read the errors of two requests that are rejected."""
    spent = compose_ggo.sync(client=client, body=ComposeRequest(address=ggo.address))
    assert isinstance(spent, Error), spent
    assert spent.message == "Nothing to transfer/retire"
    part = Transfer(amount=1, account="nobody")
    unknown = compose_ggo.sync(
        client=client, body=ComposeRequest(address=ggo.address, transfers=[part])
    )
    assert isinstance(unknown, Error), unknown
    assert isinstance(unknown.message, FieldErrors), unknown
    assert "No user exists with subject: nobody" in json.dumps(unknown.message.to_dict())
    stranger = AuthenticatedClient(base_url=os.environ["SERVICE_URL"], token="wrong")
    refused = list_accounts.sync_detailed(client=stranger)
    assert refused.status_code == 401
    assert isinstance(refused.parsed, Error)


def forecast(client: AuthenticatedClient) -> None:
    """Submit a forecast, and find it again with its times."""
    begin = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    submission = ForecastSubmission(
        account=os.environ["RECIPIENT"],
        reference="wind",
        sector="DK1",
        begin=begin,
        resolution="PT1H",
        forecast=[1000, 1200],
    )
    submitted = submit_forecast.sync(client=client, body=submission)
    assert isinstance(submitted, ForecastSubmitted), submitted
    listed = list_forecasts.sync(client=client, body=ForecastListRequest())
    assert isinstance(listed, ForecastListResponse), listed
    [found] = listed.forecasts
    assert (found.id, found.begin) == (submitted.id, begin)
    assert found.end - begin == dt.timedelta(hours=2)


def main() -> None:
    """Try the service."""
    client = AuthenticatedClient(base_url=os.environ["SERVICE_URL"], token=token())
    accounts = list_accounts.sync(client=client)
    assert isinstance(accounts, AccountsResponse), accounts
    assert [each.id for each in accounts.accounts] == [os.environ["SUBJECT"]]
    [ggo] = stored(client)
    assert ggo.begin.tzinfo is not None
    trade(client, ggo)
    fail(client, ggo)
    forecast(client)
    assert callable(export_declaration.sync)
    print(json.dumps({"stored": ggo.amount}))  # noqa: T201 - the test reads it


main()
