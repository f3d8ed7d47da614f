"""The signature of DataHub's webhooks, which ours have, too."""

from hypothesis import given
from hypothesis import strategies as st

from origin.webhooks.rules.signatures import hub_signature, is_hub_signature


def test_known_signature() -> None:
    # printf '{"a":1}' | openssl dgst -sha256 -hmac key -binary | base64
    expected = "sha256=iKZ/JLvNrtDmyZdAS7eadDuvRMa6svTCcyjjAJ0i40I="
    assert hub_signature("key", b'{"a":1}') == expected


@given(st.text().filter(lambda t: t.isascii()), st.binary(), st.text(), st.binary(min_size=1))
def test_only_the_right_signature_is_accepted(
    secret: str, body: bytes, other: str, more: bytes
) -> None:
    signature = hub_signature(secret, body)
    assert is_hub_signature(signature, secret, body)
    assert not is_hub_signature(signature, secret, body + more)
    assert not is_hub_signature(None, secret, body)
    assert not is_hub_signature(signature.removeprefix("sha256="), secret, body)
    assert not is_hub_signature(other, secret, body)
