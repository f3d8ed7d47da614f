"""A sealed text opens only with a known secret and in its own context."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.ggos.rules.listing import SIGNATURE_LENGTH
from origin.keys.sealing import CannotUnseal, Sealer, Signer


@given(plaintext=st.text(), context=st.text())
def test_a_sealed_text_opens_in_its_context(plaintext: str, context: str):
    sealer = Sealer(["a secret"])
    assert sealer.open(sealer.seal(plaintext, context), context) == plaintext


def test_it_does_not_open_in_another_context():
    sealer = Sealer(["a secret"])
    sealed = sealer.seal("key", "users.master_key:alice")
    with pytest.raises(CannotUnseal):
        sealer.open(sealed, "users.master_key:bob")


def test_it_does_not_open_with_another_secret():
    with pytest.raises(CannotUnseal):
        Sealer(["another"]).open(Sealer(["a secret"]).seal("key", "x"), "x")


def test_the_first_secret_seals_and_all_open():
    old, both = Sealer(["old"]), Sealer(["new", "old"])
    assert both.open(old.seal("key", "x"), "x") == "key"
    with pytest.raises(CannotUnseal):
        old.open(both.seal("key", "x"), "x")


def test_sealing_a_text_twice_gives_different_results():
    sealer = Sealer(["a secret"])
    assert sealer.seal("key", "x") != sealer.seal("key", "x")


@given(st.text())
def test_an_unsealed_text_does_not_open(text: str):
    with pytest.raises(CannotUnseal):
        Sealer(["a secret"]).open(text, "x")


@given(position=st.integers(0, 200))
def test_a_changed_letter_is_detected(position: int):
    sealer = Sealer(["a secret"])
    sealed = sealer.seal("a key of some length", "x")
    place = position % len(sealed)
    changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
    try:
        opened = sealer.open(changed, "x")
    except CannotUnseal:
        return
    # Some bits of Base64's last letter have no meaning.
    assert place >= len(sealed.rstrip("=")) - 1
    assert opened == "a key of some length"


def test_signatures_are_valid_for_their_text_under_any_known_secret():
    old, both = Signer(["old"]), Signer(["new", "old"])
    signature = old.sign(b"text")
    assert len(signature) == SIGNATURE_LENGTH
    assert both.is_signed(b"text", signature)
    assert not both.is_signed(b"text ", signature)
    assert not both.is_signed(b"text", signature[:-1])
    assert not both.is_signed(b"text", b"")
    assert not old.is_signed(b"text", both.sign(b"text"))
    assert not Signer(["another"]).is_signed(b"text", signature)
