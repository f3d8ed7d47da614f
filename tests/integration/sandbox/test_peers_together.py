"""The sandbox's servers over HTTP, with calls between them."""

import base64
import json
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import bip32utils
import pytest
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

from sandbox.clients import ControlError
from tests.integration.sandbox.conftest import CALLBACK
from tests.support.waiting import eventually
from tests.unit.sandbox.sdk import BatchList, sdk

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
SCOPES = "openid offline profile meteringpoints.read measurements.read ggo.read"
CODES = {"technologyCode": "T020001", "fuelCode": "F01050100"}
TIMEOUT = 10

pytestmark = pytest.mark.filterwarnings("ignore:Function is unused:DeprecationWarning")


@pytest.fixture
def oauth(sandbox, monkeypatch):
    """An Authlib session as the service uses it, with PKCE."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    names = sandbox.environment()
    with OAuth2Session(
        names["HYDRA_CLIENT_ID"],
        names["HYDRA_CLIENT_SECRET"],
        scope=SCOPES,
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
    ) as session:
        yield session


def login_url(sandbox, oauth, **more):
    url, _ = oauth.create_authorization_url(
        f"{sandbox.urls['hydra']}/oauth2/auth", code_verifier="v" * 48, **more
    )
    return url


def fetch(sandbox, oauth, callback, verifier="v" * 48):
    return oauth.fetch_token(
        f"{sandbox.urls['hydra']}/oauth2/token",
        authorization_response=callback,
        code_verifier=verifier,
    )


def introspect(sandbox, token):
    url = sandbox.environment()["HYDRA_INTROSPECT_URL"]
    return requests.post(url, data={"token": token, "scope": ""}, timeout=TIMEOUT).json()


def test_the_code_flow_with_authlib(sandbox, oauth):
    hydra = sandbox.urls["hydra"]
    callback = sandbox.hydra.accept(login_url(sandbox, oauth, nonce="n-1"), "anna")
    assert callback.startswith(CALLBACK + "?")
    tokens = fetch(sandbox, oauth, callback)
    assert introspect(sandbox, tokens["access_token"])["sub"] == "anna"
    keys = requests.get(f"{hydra}/.well-known/jwks.json", timeout=TIMEOUT).json()
    claims = jwt.decode(tokens["id_token"], KeySet.import_key_set(keys)).claims
    assert (claims["iss"], claims["sub"], claims["nonce"]) == (hydra, "anna", "n-1")
    renewed = oauth.refresh_token(f"{hydra}/oauth2/token", refresh_token=tokens["refresh_token"])
    assert introspect(sandbox, renewed["access_token"])["active"]
    with pytest.raises(OAuthError, match="invalid_grant"):
        oauth.refresh_token(f"{hydra}/oauth2/token", refresh_token=tokens["refresh_token"])
    assert introspect(sandbox, renewed["access_token"]) == {"active": False}


def test_the_wrong_verifier_gets_no_token(sandbox, oauth):
    callback = sandbox.hydra.accept(login_url(sandbox, oauth), "anna")
    with pytest.raises(OAuthError, match="invalid_grant"):
        fetch(sandbox, oauth, callback, verifier="w" * 48)


def test_declining_and_consenting_to_less(sandbox, oauth):
    query = parse_qs(urlsplit(sandbox.hydra.decline(login_url(sandbox, oauth))).query)
    assert query["error"] == ["access_denied"]
    callback = sandbox.hydra.accept(login_url(sandbox, oauth), "anna", ["ggo.read"])
    tokens = fetch(sandbox, oauth, callback)
    assert tokens["scope"] == "ggo.read"
    assert "id_token" not in tokens


def test_a_hint_signs_in_at_once(sandbox, oauth):
    url = login_url(sandbox, oauth, login_hint="bo")
    answer = requests.get(url, allow_redirects=False, timeout=TIMEOUT)
    tokens = fetch(sandbox, oauth, answer.headers["Location"])
    assert introspect(sandbox, tokens["access_token"])["sub"] == "bo"


class User:
    """A user of the service: the user's keys, and calls to DataHub on the user's behalf."""

    def __init__(self, sandbox, sub, entropy=bytes(range(32))):
        self.sandbox, self.sub = sandbox, sub
        self.master = bip32utils.BIP32Key.fromEntropy(entropy)
        self.token = sandbox.hydra.tokens(sub).access

    def call(self, path, body=None):
        return requests.post(
            self.sandbox.urls["datahub"] + path,
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=TIMEOUT,
        )

    def set_key(self, gsrn, number):
        key = self.master.ChildKey(1).ChildKey(number).ExtendedKey()
        assert self.call("/meteringpoints/set-key", {"gsrn": gsrn, "key": key}).status_code == 200

    def subscribe(self, url, secret="hook-secret"):
        for event in ("on-meteringpoint-available", "on-ggo-issued"):
            body = {"url": url, "secret": secret}
            assert self.call(f"/webhook/{event}/subscribe", body).json() == {"success": True}

    def period_key(self, number):
        return self.master.ChildKey(1).ChildKey(number).ChildKey(int(NOON.timestamp()))

    def part_key(self, number):
        return self.master.ChildKey(0).ChildKey(number)


@pytest.fixture
def anna(sandbox):
    return User(sandbox, "anna")


def ggo_address(key):
    return sdk.generate_address(sdk.AddressPrefix.GGO, key.PublicKey())


def test_from_a_metering_point_to_a_settlement(sandbox, anna):
    """The service's main operations, done by the test: issue, split, retire, commit."""
    sandbox.datahub.add_meteringpoint("anna", "p", "production", **CODES)
    sandbox.datahub.add_meteringpoint("anna", "c", "consumption")
    anna.set_key("p", 0)
    anna.set_key("c", 1)
    assert set(sandbox.datahub.keys(wait=30)) == {"p", "c"}
    issued = sandbox.datahub.issue("p", NOON, 1000, emissions={"CO2": 0.25})
    measured = sandbox.datahub.publish("c", NOON, 400)
    source, meter = anna.period_key(0), anna.period_key(1)
    rest, part = anna.part_key(0), anna.part_key(1)
    assert issued["address"] == ggo_address(source)
    settlement = sdk.generate_address(sdk.AddressPrefix.SETTLEMENT, meter.PublicKey())
    batch = sdk.Batch(anna.master.PrivateKey())
    batch.add_request(
        sdk.SplitGGORequest(
            source_private_key=source.PrivateKey(),
            source_address=issued["address"],
            parts=[
                sdk.SplitGGOPart(address=ggo_address(rest), amount=700),
                sdk.SplitGGOPart(address=ggo_address(part), amount=300),
            ],
        )
    )
    batch.add_request(
        sdk.RetireGGORequest(
            settlement_address=settlement,
            measurement_address=measured["address"],
            measurement_private_key=meter.PrivateKey(),
            parts=[sdk.RetireGGOPart(address=ggo_address(part), private_key=part.PrivateKey())],
        )
    )
    signed = batch.get_signed_batch()
    answer = post(sandbox, signed)
    assert answer.status_code == 202
    sandbox.ledger.batches(count=1, wait=30)
    (status,) = requests.get(answer.json()["link"], timeout=TIMEOUT).json()["data"]
    assert (status["id"], status["status"]) == (signed.header_signature, "COMMITTED")
    state = sandbox.ledger.state()
    assert state[settlement]["parts"] == [{"ggo": ggo_address(part), "amount": 300}]
    assert state[ggo_address(rest)]["amount"] == 700
    assert state[ggo_address(rest)]["emissions"] is None
    shown = requests.get(f"{sandbox.urls['ledger']}/state/{settlement}", timeout=TIMEOUT).json()
    assert json.loads(base64.b64decode(shown["data"])) == state[settlement]


def post(sandbox, *batches):
    return requests.post(
        f"{sandbox.urls['ledger']}/batches",
        data=BatchList(batches=batches).SerializeToString(),
        headers={"Content-Type": "application/octet-stream"},
        timeout=TIMEOUT,
    )


def test_webhooks_are_signed_and_repeated_until_200(sandbox, anna):
    receiver, datahub = sandbox.receiver, sandbox.datahub
    anna.subscribe(receiver.hook("anna"))
    datahub.add_meteringpoint("anna", "p", "production", **CODES)
    (first,) = receiver.deliveries("anna", count=1, wait=30)
    assert first["verified"]
    assert first["json"]["meteringpoint"]["gsrn"] == "p"
    anna.set_key("p", 0)
    datahub.settings(retry_interval=0.02)
    receiver.answer(500, times=2)
    ggo = datahub.issue("p", NOON, 1000)
    (delivery,) = [one for one in datahub.deliveries(wait=30) if one["event"] == "on-ggo-issued"]
    assert delivery["state"] == "DELIVERED"
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 500, 200]
    got = receiver.deliveries("anna", count=4)[1:]
    assert [one["json"] for one in got] == [{"sub": "anna", "ggo": ggo}] * 3


def test_webhooks_held_reversed_doubled_and_wrongly_signed(sandbox, anna):
    receiver, datahub = sandbox.receiver, sandbox.datahub
    anna.subscribe(receiver.hook())
    datahub.add_meteringpoint("anna", "p", "production", webhooks="none", **CODES)
    anna.set_key("p", 0)
    begins = [NOON + timedelta(hours=hour) for hour in range(3)]
    datahub.issue_many([{"gsrn": "p", "begin": at, "amount": 5} for at in begins], webhooks="hold")
    assert receiver.deliveries() == []
    assert datahub.release("reverse") == 3
    assert len(receiver.deliveries(count=3, wait=30)) == 3
    datahub.issue("p", NOON - timedelta(hours=1), 5, webhooks="double")
    datahub.deliveries(wait=30)
    last = receiver.deliveries(count=5, wait=30)[-2:]
    assert last[0]["body"] == last[1]["body"]
    datahub.settings(signing="wrong")
    datahub.send("anna", "on-ggo-issued", {"sub": "anna", "ggo": None})
    assert receiver.deliveries(count=6, wait=30)[-1]["verified"] is False


def test_an_unreachable_receiver_is_retried_on_demand(sandbox, anna):
    anna.subscribe("http://127.0.0.1:9/hook")
    sandbox.datahub.add_meteringpoint("anna", "p", "production")
    anna.subscribe(sandbox.receiver.hook())
    failed = eventually(lambda: sandbox.datahub.deliveries()[0]["attempts"], "an attempt")
    assert failed[0]["error"] == "ConnectionError"
    assert sandbox.datahub.retry_now() == 1


def test_an_inactive_token_is_401_and_an_unreachable_hydra_503(sandbox, anna):
    assert anna.call("/meteringpoints").status_code == 200
    sandbox.hydra.fault("/oauth2/introspect", cut="before")
    assert anna.call("/meteringpoints").status_code == 503
    anna.token = sandbox.hydra.tokens("anna").refresh
    assert anna.call("/meteringpoints").status_code == 401
    anna.token = sandbox.hydra.tokens("anna").access
    sandbox.hydra.expire(sub="anna")
    assert anna.call("/meteringpoints").status_code == 401


def test_cuts_and_delays_over_the_wire(sandbox):
    url = f"{sandbox.urls['ledger']}/state/849c0b"
    for cut in ("before", "after"):
        sandbox.ledger.fault("/state/*", cut=cut)
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=TIMEOUT)
    sandbox.ledger.fault("/state/*", delay_after=30, times=None)
    with pytest.raises(requests.ReadTimeout):
        requests.get(url, timeout=0.1)
    waiting = []
    caller = threading.Thread(
        target=lambda: waiting.append(requests.get(url, timeout=TIMEOUT).status_code)
    )
    caller.start()
    eventually(lambda: sandbox.ledger.faults()[0]["struck"] >= 2, "the call meets the fault")
    sandbox.ledger.clear_faults()
    # Less than the fault's delay.
    caller.join(20)
    assert waiting == [404]
    assert sandbox.ledger.count("GET /state/<address>") == 4


def test_holding_blocks_keeps_batches_pending(sandbox, anna):
    key = anna.part_key(0)
    batch = sdk.Batch(anna.master.PrivateKey())
    batch.add_request(
        sdk.TransferGGORequest(
            source_private_key=key.PrivateKey(),
            source_address=ggo_address(key),
            destination_address=ggo_address(anna.part_key(1)),
        )
    )
    signed = batch.get_signed_batch()
    with sandbox.ledger.held():
        post(sandbox, signed)
        assert [one["status"] for one in sandbox.ledger.batches(count=1, wait=0.1)] == ["PENDING"]
    (entry,) = sandbox.ledger.batches(count=1, wait=30)
    assert (entry["status"], entry["posts"]) == ("INVALID", 1)


def test_a_failed_control_call_says_why(sandbox):
    with pytest.raises(ControlError, match="No metering point 9"):
        sandbox.datahub.issue("9", NOON, 5)


def test_the_residual_mix_is_served(sandbox):
    sandbox.energytype.hide(NOON, NOON + timedelta(hours=1), "DK1")
    query = {
        "sector": ["DK1", "DK2"],
        "begin_from": NOON.isoformat(),
        "begin_to": (NOON + timedelta(hours=1)).isoformat(),
    }
    url = f"{sandbox.urls['energytype']}/residual-mix"
    found = requests.get(url, params=query, timeout=TIMEOUT).json()["mix_emissions"]
    assert {row["sector"] for row in found} == {"DK2"}
