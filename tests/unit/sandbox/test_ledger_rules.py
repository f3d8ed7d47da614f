"""The ledger's rules: valid batches, and batches that break one rule each."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.ledger.envelope import parse_batches
from sandbox.ledger.rules import InvalidBatchError, apply_batch
from tests.unit.sandbox.batches import (
    HOUR,
    Key,
    as_bytes,
    batch,
    ggo,
    measured,
    retire,
    settle,
    split,
    transaction,
    transfer,
)


def run(state, *transactions, **more):
    """Return the state after a batch of these transactions."""
    (parsed,) = parse_batches(as_bytes(batch(*transactions)))
    return {**state, **apply_batch(state, parsed, **more)}


def refusal(state, *transactions, **more):
    """Check that the batch is invalid and writes nothing; return the reason."""
    before = dict(state)
    with pytest.raises(InvalidBatchError) as caught:
        run(state, *transactions, **more)
    assert state == before
    assert caught.value.transaction_id in [one.header_signature for one in transactions]
    return caught.value.message


def test_a_split_creates_its_parts_and_spends_the_source():
    source, one, two = Key(), Key(), Key()
    after = run({source.ggo: ggo(100)}, split(source, [(one.ggo, 60), (two.ggo, 40)]))
    assert after[source.ggo] == {
        **ggo(100),
        "next": {"action": "SPLIT", "addresses": [one.ggo, two.ggo]},
    }
    assert after[one.ggo] == {**ggo(60), "origin": source.ggo}
    assert after[two.ggo] == {**ggo(40), "origin": source.ggo}


def test_a_transfer_moves_the_whole():
    source, target = Key(), Key()
    after = run({source.ggo: ggo(7)}, transfer(source, target.ggo))
    assert after[source.ggo]["next"] == {"action": "TRANSFER", "addresses": [target.ggo]}
    assert after[target.ggo] == {**ggo(7), "origin": source.ggo}


def test_a_part_is_retired_in_the_batch_of_its_split():
    source, part, rest, meter = Key(), Key(), Key(), Key()
    after = run(
        {source.ggo: ggo(100), meter.measurement: measured(30)},
        split(source, [(rest.ggo, 70), (part.ggo, 30)]),
        retire(part, meter.settlement),
        settle(meter, [part.ggo]),
    )
    assert after[part.ggo]["next"] == {"action": "RETIRE", "addresses": [meter.settlement]}
    assert after[meter.settlement] == {
        "measurement": meter.measurement,
        "parts": [{"ggo": part.ggo, "amount": 30}],
    }


def test_a_settlement_is_extended_up_to_what_was_measured():
    one, two, three, meter = Key(), Key(), Key(), Key()
    state = {
        one.ggo: ggo(20),
        two.ggo: ggo(10),
        three.ggo: ggo(1),
        meter.measurement: measured(30),
    }
    for key in (one, two):
        state = run(state, retire(key, meter.settlement), settle(meter, [key.ggo]))
    assert [part["amount"] for part in state[meter.settlement]["parts"]] == [20, 10]
    message = refusal(state, retire(three, meter.settlement), settle(meter, [three.ggo]))
    assert message == "31 Wh are settled, 30 Wh were measured"


def bad_splits():
    source, one, two = Key(), Key(), Key()
    parts = [(one.ggo, 60), (two.ggo, 40)]
    fresh = {source.ggo: ggo(100)}
    spent = {source.ggo: {**ggo(100), "next": {"action": "SPLIT", "addresses": []}}}
    wrong_checksum = one.ggo[:-1] + ("0" if one.ggo[-1] != "0" else "1")
    payload = {"origin": source.ggo, "parts": [{"address": one.ggo, "amount": 100}]}
    touched = [source.ggo, one.ggo]

    def of(changed):
        return transaction(source, "SplitGGORequest", changed, touched)

    yield "sums to less", fresh, split(source, [(one.ggo, 60), (two.ggo, 39)])
    yield "sums to more", fresh, split(source, [(one.ggo, 60), (two.ggo, 41)])
    yield "part of nothing", fresh, split(source, [(one.ggo, 100), (two.ggo, 0)])
    yield "negative part", fresh, split(source, [(one.ggo, 101), (two.ggo, -1)])
    yield "no part", fresh, split(source, [])
    yield "same address twice", fresh, split(source, [(one.ggo, 60), (one.ggo, 40)])
    yield "onto itself", fresh, split(source, [(source.ggo, 100)])
    yield "address in use", {**fresh, one.ggo: ggo(1)}, split(source, parts)
    yield "spent already", spent, split(source, parts)
    yield "no source", {}, split(source, parts)
    yield "signed by another", fresh, transaction(one, "SplitGGORequest", payload, touched)
    yield "checksum", fresh, split(source, [(wrong_checksum, 100)])
    yield "address of another kind", fresh, split(source, [(one.measurement, 100)])
    yield "address too short", fresh, split(source, [(one.ggo[:-2], 100)])
    yield "input not announced", fresh, split(source, parts, inputs=[source.ggo])
    yield "output not announced", fresh, split(source, parts, outputs=[source.ggo, one.ggo])
    yield "version", fresh, split(source, parts, family_version="0.2")
    yield "family", fresh, transaction(source, "SplitRequest", payload, touched)
    yield "dependency", fresh, split(source, parts, dependencies=["ab" * 64])
    yield "no JSON", fresh, of(b"\xff{")
    yield "unknown field", fresh, of({**payload, "memo": "x"})
    yield "missing field", fresh, of({"origin": source.ggo})
    yield "amount in quotes", fresh, of({**payload, "parts": [{"address": one.ggo, "amount": "1"}]})
    yield "amount true", fresh, of({**payload, "parts": [{"address": one.ggo, "amount": True}]})
    yield "fraction", fresh, of({**payload, "parts": [{"address": one.ggo, "amount": 100.0}]})


@pytest.mark.parametrize(
    ("state", "wrong"), [pytest.param(*rest, id=name) for name, *rest in bad_splits()]
)
def test_a_bad_split_is_invalid(state, wrong):
    assert refusal(state, wrong)


def bad_retires():
    part, meter, other = Key(), Key(), Key()
    usual = {part.ggo: ggo(10), meter.measurement: measured(30)}
    settled = settle(meter, [part.ggo])
    retired = retire(part, meter.settlement)

    def at(**more):
        return {**usual, meter.measurement: measured(30, **more)}

    yield "never settled", usual, [retired]
    yield "settled elsewhere", usual, [retire(part, other.settlement), settled]
    yield "settled before it is retired", usual, [settled, retired]
    yield "settled, never retired", usual, [settled]
    yield "retired twice", usual, [retired, retire(part, meter.settlement, nonce="2"), settled]
    yield "settled twice", usual, [retired, settled, settle(meter, [part.ggo], nonce="2")]
    yield "settled twice in one", usual, [retired, settle(meter, [part.ggo, part.ggo])]
    yield "nothing settled", usual, [settle(meter, [])]
    yield "not the meter's signature", usual, [retired, settle(meter, [part.ggo], signer=other)]
    yield (
        "not the owner's signature",
        usual,
        [
            transaction(
                other,
                "RetireGGORequest",
                {"origin": part.ggo, "settlement_address": meter.settlement},
                [part.ggo],
            ),
            settled,
        ],
    )
    yield (
        "another settlement address",
        usual,
        [
            retire(part, other.settlement),
            settle(meter, [part.ggo], settlement=other.settlement),
        ],
    )
    yield "production", at(kind="PRODUCTION"), [retired, settled]
    yield "another hour", at(begin=HOUR + timedelta(hours=1)), [retired, settled]
    yield "another sector", at(sector="DK2"), [retired, settled]
    yield "no measurement", {part.ggo: ggo(10)}, [retired, settled]
    yield "more than measured", {**usual, part.ggo: ggo(31)}, [retired, settled]
    yield "no GGO", {meter.measurement: measured(30)}, [retired, settled]
    yield "settlement is no address", usual, [retire(part, part.ggo), settled]
    yield "measurement not announced", usual, [retired, settle(meter, [part.ggo], reads=[part.ggo])]
    yield (
        "GGO not announced",
        usual,
        [
            retired,
            settle(meter, [part.ggo], reads=[meter.measurement]),
        ],
    )


@pytest.mark.parametrize(
    ("state", "wrong"), [pytest.param(*rest, id=name) for name, *rest in bad_retires()]
)
def test_a_bad_retire_is_invalid(state, wrong):
    assert refusal(state, *wrong)


def test_a_retired_part_of_an_earlier_batch_cannot_be_settled_again():
    part, meter = Key(), Key()
    state = {part.ggo: ggo(10), meter.measurement: measured(30)}
    state = run(state, retire(part, meter.settlement), settle(meter, [part.ggo]))
    assert "settled already" in refusal(state, settle(meter, [part.ggo], nonce="2"))


def test_a_failing_transaction_makes_the_whole_batch_fail():
    one, two, target = Key(), Key(), Key()
    state = {one.ggo: ggo(5)}
    assert "No GGO" in refusal(state, transfer(one, target.ggo), transfer(two, Key().ggo))


def test_a_committed_transaction_cannot_come_again_in_another_batch():
    source, target = Key(), Key()
    one = transfer(source, target.ggo)
    state = {source.ggo: ggo(5)}
    assert "Committed before" in refusal(state, one, committed={one.header_signature: "b"})


def test_a_dependency_is_met_by_the_same_batch_or_a_committed_one():
    source, middle, target = Key(), Key(), Key()
    first = transfer(source, middle.ggo)
    second = transfer(middle, target.ggo, dependencies=[first.header_signature])
    assert run({source.ggo: ggo(5)}, first, second)[target.ggo]["amount"] == 5
    assert run({middle.ggo: ggo(5)}, second, committed={first.header_signature: "b"})


def test_only_the_issuing_body_publishes_and_issues():
    issuer, meter = Key(), Key()
    payload = {**measured(50, "PRODUCTION")}
    publish = transaction(issuer, "PublishMeasurementRequest", payload, [meter.measurement])
    issue = transaction(
        issuer,
        "IssueGGORequest",
        {
            "origin": meter.measurement,
            "destination": meter.ggo,
            "tech_type": "T010000",
            "fuel_type": "F01050100",
            "emissions": None,
        },
        [meter.ggo],
        reads=[meter.measurement],
    )
    issuers = frozenset([issuer.public])
    after = run({}, publish, issue, issuers=issuers)
    assert after[meter.ggo] == {**ggo(50), "origin": meter.measurement, "emissions": None}
    assert "issuing body" in refusal({}, publish)
    assert "in use" in refusal(after, issue, issuers=issuers)
    elsewhere = Key()
    assert "measurement's key" in refusal(
        after,
        transaction(
            issuer,
            "IssueGGORequest",
            {
                "origin": meter.measurement,
                "destination": elsewhere.ggo,
                "tech_type": "T",
                "fuel_type": "F",
            },
            [meter.measurement, elsewhere.ggo],
        ),
        issuers=issuers,
    )


@given(amounts=st.lists(st.integers(1, 2**40), min_size=1, max_size=6), off=st.integers(-2, 2))
def test_energy_is_conserved_by_every_split(amounts, off):
    """A split is valid only if its parts add up to the source."""
    source, parts = Key(), [(Key().ggo, amount) for amount in amounts]
    state = {source.ggo: ggo(sum(amounts) + off)}
    if off:
        refusal(state, split(source, parts))
        return
    after = run(state, split(source, parts))
    unspent = [record["amount"] for record in after.values() if record["next"] is None]
    assert sum(unspent) == sum(amounts)


@given(amounts=st.lists(st.integers(1, 50), min_size=1, max_size=5), limit=st.integers(1, 120))
def test_never_more_is_settled_than_was_measured(amounts, limit):
    """GGOs retired in successive batches are valid only up to the measured amount."""
    meter, keys = Key(), [Key() for _ in amounts]
    state = {key.ggo: ggo(amount) for key, amount in zip(keys, amounts, strict=True)}
    state[meter.measurement] = measured(limit)
    settled = 0
    for key, amount in zip(keys, amounts, strict=True):
        both = retire(key, meter.settlement), settle(meter, [key.ggo])
        if settled + amount <= limit:
            state = run(state, *both)
            settled += amount
        else:
            refusal(state, *both)
    parts = state.get(meter.settlement, {"parts": []})["parts"]
    assert sum(part["amount"] for part in parts) == settled <= limit
