"""Hydra's responses, documented and ill-formed, as the client reads them (contract: peers, Hydra)."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from origin.errors import PeerMisbehaved
from origin.identity.client import HydraClient
from origin.shared.clock import utcnow
from tests.support.scripted_peer import ScriptedPeer, http_answer

KEY = RSAKey.generate_key(parameters={"kid": "k"}, private=True)
PUBLIC = KEY.as_dict(private=False)
Answering = Callable[[Any], HydraClient]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Return a client of a Hydra that answers each call with this document."""
    peer = ScriptedPeer()

    def client(document: Any) -> HydraClient:
        answer = http_answer(json.dumps(document).encode())
        peer.scripts = [lambda to: to.sendall(answer) for _ in range(5)]
        url = f"http://{peer.address}"
        return HydraClient(
            url,
            f"{url}/introspect",
            client_id="us",
            client_secret="secret",
            introspect_auth=False,
            tls_verify=True,
        )

    yield client
    peer.close()


def _id_token() -> str:
    now = int(time.time())
    claims = {"sub": "anna", "aud": "us", "nonce": "n", "iat": now, "exp": now + 60}
    return jwt.encode({"alg": "RS256", "kid": "k"}, claims, KEY, algorithms=["RS256"])


ODD_KEYS = [
    {"kty": "EC", "crv": "P-999", "x": "AQAB", "y": "AQAB", "kid": "e"},
    {"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB", "kid": "e"},
    {"kty": "OKP", "crv": "X999", "x": "AQAB"},
    {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQAB"},
    {"kty": ["RSA"]},
    {"kty": "RSA", "kid": "k"},
    {"kty": "RSA", "n": "!!", "e": "AQAB", "kid": "k"},
    {"kty": "RSA", "n": "", "e": "", "kid": "k"},
    {"kty": "RSA", "n": "AQAB", "e": "AA", "kid": "k"},
    {"kty": "RSA", "n": 5, "e": None},
    {**PUBLIC, "use": "enc"},
    {**PUBLIC, "use": 5},
    {**PUBLIC, "alg": "RS512"},
    ECKey.generate_key("P-256", {"kid": "k"}).as_dict(private=False),
    OctKey.generate_key(256, {"kid": "k"}).as_dict(),
    {},
    {"kid": "k"},
    None,
    1,
    "x",
    KEY.as_pem(private=False).decode(),
    [],
]


@pytest.mark.parametrize("odd", ODD_KEYS, ids=range(len(ODD_KEYS)))
def test_an_unusable_key_does_not_hide_the_others(answering: Answering, odd: Any) -> None:
    for keys in ([odd, PUBLIC], [PUBLIC, odd]):
        assert answering({"keys": keys}).subject_of(_id_token(), nonce="n") == "anna"


@pytest.mark.parametrize(
    "document",
    [{}, {"keys": None}, {"keys": {}}, {"keys": "x"}, {"keys": []}, {"keys": ODD_KEYS}, PUBLIC],
)
def test_keys_without_a_usable_one_are_misbehaviour(answering: Answering, document: Any) -> None:
    with pytest.raises(PeerMisbehaved):
        answering(document).subject_of(_id_token(), nonce="n")


ACTIVE = {"active": True, "sub": "anna", "scope": "openid", "token_type": "Bearer"}


@pytest.mark.parametrize(
    "change",
    [
        {"active": None},
        {"active": 1},
        {"active": "true"},
        {"sub": 5},
        {"sub": ["anna"]},
        {"sub": False},
        {"scope": ["openid"]},
        {"exp": True},
        {"exp": False},
        {"exp": []},
        {"exp": ""},
        {"token_type": 5},
        {"token_type": ["Bearer"]},
        {"token_use": False},
        {"token_use": {}},
    ],
)
def test_an_ill_formed_introspection_is_not_an_unknown_token(
    answering: Answering, change: dict[str, Any]
) -> None:
    with pytest.raises(PeerMisbehaved):
        answering(ACTIVE | change).introspect("token")


@pytest.mark.parametrize(
    "change", [{"active": False}, {"sub": None}, {"sub": ""}, {"exp": 0}, {"token_type": None}]
)
def test_an_inactive_token(answering: Answering, change: dict[str, Any]) -> None:
    assert answering(ACTIVE | change).introspect("token") is None


@pytest.mark.parametrize(
    "expires_in", [True, False, "", "soon", [], {}, [60], 10**30, "inf", "nan"]
)
def test_an_ill_formed_lifetime_is_misbehaviour(answering: Answering, expires_in: Any) -> None:
    with pytest.raises(PeerMisbehaved):
        answering({"access_token": "a", "expires_in": expires_in}).refresh("token")


@pytest.mark.parametrize("expires_in", [60, 60.5, "60", None])
def test_lifetimes(answering: Answering, expires_in: Any) -> None:
    tokens = answering({"access_token": "a", "expires_in": expires_in}).refresh("token")
    assert abs((tokens.expires_at - utcnow()).total_seconds() - float(expires_in or 0)) < 30


@pytest.mark.parametrize(
    ("named", "client"),
    [
        ({"client_id": "backend"}, "backend"),
        ({}, None),
        ({"client_id": None}, None),
        ({"client_id": ""}, None),
        ({"client_id": 7}, None),
        ({"client_id": "a\0b"}, None),
    ],
)
def test_the_client_of_a_token_is_known_if_hydra_names_it(
    answering: Answering, named: dict[str, Any], client: str | None
) -> None:
    """It is told for information: an odd one makes no token invalid."""
    found = answering({"active": True, "sub": "alice", "token_type": "access_token"} | named)
    token = found.introspect("token")
    assert token is not None
    assert token.client == client
