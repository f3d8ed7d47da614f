"""The ledger's REST API and its control calls, over batches that the SDK built."""

import base64
import json
import time
from datetime import timedelta

import pytest

from sandbox.ledger import create_app
from sandbox.ledger.validator import Validator
from tests.unit.sandbox.batches import HOUR, Key, as_bytes, batch, split, transfer
from tests.unit.sandbox.sdk import BatchList, sdk

OCTETS = {"content_type": "application/octet-stream"}


class Driver:
    """Short words for what the tests do with the ledger."""

    def __init__(self, validator):
        self.validator = validator
        self.http = create_app(validator).test_client()

    def control(self, path, body=None):
        answer = self.http.post(f"/control/{path}", json=body if body is not None else {})
        assert answer.status_code == 200, answer.json
        return answer.json

    def measure(self, key, amount, kind="CONSUMPTION"):
        self.control(
            "publish",
            {
                "address": key.measurement,
                "amount": amount,
                "type": kind,
                "begin": HOUR.isoformat(),
                "end": (HOUR + timedelta(hours=1)).isoformat(),
                "sector": "DK1",
            },
        )

    def issue(self, key, amount):
        self.measure(key, amount, "PRODUCTION")
        self.control(
            "issue",
            {
                "measurement_address": key.measurement,
                "ggo_address": key.ggo,
                "tech_type": "T010000",
                "fuel_type": "F01050100",
                "emissions": {"CO2": 0.5},
            },
        )

    def post(self, *batches):
        return self.http.post("/batches", data=as_bytes(*batches), **OCTETS)

    def status(self, one):
        answer = self.http.get(f"/batch_statuses?id={one.header_signature}")
        return answer.json["data"][0]["status"]

    def state(self, address):
        answer = self.http.get(f"/state/{address}")
        return json.loads(base64.b64decode(answer.json["data"]))

    def listed(self, one):
        listing = self.http.get("/control/batches").json["batches"]
        return next(entry for entry in listing if entry["id"] == one.header_signature)

    def moved(self):
        """A good batch that moves 10 Wh, and the key it spends."""
        source = Key()
        self.issue(source, 10)
        return batch(transfer(source, Key().ggo)), source


@pytest.fixture
def ledger():
    return Driver(Validator(block_time=0))


def test_a_batch_of_the_sdk_is_committed(ledger):
    """Split and two retires as the service will send them, state as the SDK reads it."""
    source, rest, one, two, meter, user = (Key() for _ in range(6))
    ledger.issue(source, 100)
    ledger.measure(meter, 60)
    built = sdk.Batch(user.private.secret)
    built.add_request(
        sdk.SplitGGORequest(
            source_private_key=source.private.secret,
            source_address=sdk.generate_address(sdk.AddressPrefix.GGO, source.public),
            parts=[
                sdk.SplitGGOPart(address=rest.ggo, amount=50),
                sdk.SplitGGOPart(address=one.ggo, amount=20),
                sdk.SplitGGOPart(address=two.ggo, amount=30),
            ],
        )
    )
    built.add_request(
        sdk.RetireGGORequest(
            settlement_address=meter.settlement,
            measurement_address=meter.measurement,
            measurement_private_key=meter.private.secret,
            parts=[
                sdk.RetireGGOPart(address=key.ggo, private_key=key.private.secret)
                for key in (one, two)
            ],
        )
    )
    signed = built.get_signed_batch()
    answer = ledger.http.post(
        "/batches", data=BatchList(batches=[signed]).SerializeToString(), **OCTETS
    )
    link = f"http://localhost/batch_statuses?id={signed.header_signature}"
    assert (answer.status_code, answer.json) == (202, {"link": link})
    status = ledger.http.get(link).json
    assert status["data"] == [
        {"id": signed.header_signature, "status": "COMMITTED", "invalid_transactions": []}
    ]
    schema = sdk.GGO.get_schema()
    retired = ledger.state(one.ggo)
    assert retired.pop("emissions") == {"CO2": 0.5}
    assert schema.load(retired).next.action.value == "RETIRE"
    settlement = sdk.Settlement.get_schema().load(ledger.state(meter.settlement))
    assert [(part.ggo, part.amount) for part in settlement.parts] == [(one.ggo, 20), (two.ggo, 30)]
    measurement = sdk.Measurement.get_schema().load(ledger.state(meter.measurement))
    assert (measurement.begin, measurement.amount) == (HOUR, 60)


def test_a_batch_that_breaks_a_rule_is_invalid_and_says_why(ledger):
    wrong = batch(transfer(Key(), Key().ggo))
    assert ledger.post(wrong).status_code == 202
    (status,) = ledger.http.get(f"/batch_statuses?id={wrong.header_signature}").json["data"]
    assert status["status"] == "INVALID"
    (reason,) = status["invalid_transactions"]
    assert reason["id"] == wrong.transactions[0].header_signature
    assert reason["message"].startswith("No GGO at ")


def refused(answer):
    return answer.status_code, answer.json["error"]["code"]


def test_bodies_and_types_are_refused_in_sawtooths_words(ledger):
    post = ledger.http.post
    assert refused(post("/batches", data=b"nonsense", **OCTETS)) == (400, 35)
    assert refused(post("/batches", data=b"", **OCTETS)) == (400, 34)
    assert refused(post("/batches", json={})) == (400, 42)
    good, _ = ledger.moved()
    good.transactions[0].payload = b"{}"
    assert refused(ledger.post(good)) == (400, 30)


def test_statuses_of_many(ledger):
    good, _ = ledger.moved()
    ledger.post(good)
    ids = [good.header_signature, *(f"{number:0128x}" for number in range(15))]
    http = ledger.http
    by_get = http.get(f"/batch_statuses?id={','.join(ids[:15])}").json["data"]
    by_post = http.post("/batch_statuses", json=ids).json["data"]
    assert [one["status"] for one in by_post] == ["COMMITTED", *["UNKNOWN"] * 15]
    assert by_get == by_post[:15]
    assert refused(http.get(f"/batch_statuses?id={','.join(ids)}")) == (400, 66)
    assert refused(http.get("/batch_statuses")) == (400, 66)
    assert refused(http.get("/batch_statuses?id=abc")) == (400, 60)
    assert refused(http.post("/batch_statuses", data="x")) == (400, 43)
    assert refused(http.post("/batch_statuses", json=[])) == (400, 46)
    assert refused(http.post("/batch_statuses", json={"id": ids})) == (400, 46)


def test_state_that_is_not_there(ledger):
    assert refused(ledger.http.get(f"/state/{Key().ggo}")) == (404, 75)
    assert refused(ledger.http.get("/state/849c0b")) == (400, 62)
    assert ledger.http.get("/nowhere").status_code == 404


def test_the_same_batch_again_is_the_same_batch(ledger):
    good, _ = ledger.moved()
    for _ in range(3):
        assert ledger.post(good).status_code == 202
    entry = ledger.listed(good)
    assert entry["posts"] == 3
    assert [step["status"] for step in entry["history"]] == ["PENDING", "COMMITTED"]


def test_an_invalid_batch_is_not_tried_again_while_it_is_remembered(ledger):
    source = Key()
    early = batch(transfer(source, Key().ggo))
    ledger.post(early)
    ledger.issue(source, 10)
    ledger.post(early)
    assert ledger.status(early) == "INVALID"
    ledger.control("forget")
    assert ledger.status(early) == "UNKNOWN"
    ledger.post(early)
    assert ledger.status(early) == "COMMITTED"


def test_an_invalid_batch_is_forgotten_after_a_while():
    ledger = Driver(Validator(block_time=0, invalid_memory=0.02))
    wrong = batch(transfer(Key(), Key().ggo))
    ledger.post(wrong)
    deadline = time.monotonic() + 2
    while ledger.status(wrong) != "UNKNOWN":
        assert time.monotonic() < deadline
    assert [step["status"] for step in ledger.listed(wrong)["history"]] == [
        "PENDING",
        "INVALID",
        "UNKNOWN",
    ]


def test_blocks_come_after_their_time():
    ledger = Driver(Validator(block_time=0.05))
    good, source = ledger.moved()
    ledger.post(good)
    assert ledger.status(good) == "PENDING"
    assert ledger.state(source.ggo)["next"] is None
    ledger.http.get("/control/batches?wait=5")
    assert ledger.status(good) == "COMMITTED"


def test_hold_and_a_restart_in_between(ledger):
    ledger.control("tricks", {"hold": True})
    good, _ = ledger.moved()
    ledger.post(good)
    assert ledger.status(good) == "PENDING"
    ledger.control("forget")
    ledger.control("tricks", {"hold": False})
    assert ledger.status(good) == "UNKNOWN"
    ledger.post(good)
    assert ledger.status(good) == "COMMITTED"


def test_what_is_committed_is_not_executed_again(ledger):
    good, source = ledger.moved()
    ledger.post(good)
    ledger.control("forget")
    assert ledger.status(good) == "COMMITTED"
    ledger.control("forget", {"committed": True})
    assert ledger.status(good) == "UNKNOWN"
    before = ledger.state(source.ggo)
    ledger.post(good)
    assert ledger.status(good) == "COMMITTED"
    assert ledger.state(source.ggo) == before
    wrapped_again = batch(good.transactions[0], split(Key(), [(Key().ggo, 1)]))
    ledger.post(wrapped_again)
    assert "Committed before" in ledger.listed(wrapped_again)["history"][-1]["why"]


def test_dropped_refused_and_pretended(ledger):
    (one, _), (two, source) = ledger.moved(), ledger.moved()
    ledger.control("tricks", {"drop": 1, "invalid": 1, "invalid_message": "No luck"})
    ledger.post(one)
    assert ledger.status(one) == "UNKNOWN"
    ledger.post(two)
    assert ledger.listed(two)["invalid_transactions"][0]["message"] == "No luck"
    assert ledger.state(source.ggo)["next"] is None
    ledger.post(one)
    assert ledger.status(one) == "COMMITTED"
    ledger.control("pretend", {"id": one.header_signature, "status": "INVALID"})
    assert ledger.status(one) == "INVALID"


def test_a_full_queue_is_429():
    ledger = Driver(Validator(block_time=60, queue_limit=1))
    (one, _), (two, _) = ledger.moved(), ledger.moved()
    assert ledger.post(one).status_code == 202
    assert refused(ledger.post(two)) == (429, 31)


def test_the_link_can_point_elsewhere(ledger):
    ledger.control("link", {"prefix": "http://elsewhere.example/"})
    good, _ = ledger.moved()
    link = ledger.post(good).json["link"]
    assert link == f"http://elsewhere.example/batch_statuses?id={good.header_signature}"


def test_issuing_is_checked_and_all_or_nothing(ledger):
    source = Key()
    ledger.issue(source, 10)
    post = ledger.http.post
    issue = {
        "measurement_address": source.measurement,
        "ggo_address": source.ggo,
        "tech_type": "T",
        "fuel_type": "F",
    }
    assert post("/control/issue", json=issue).status_code == 400
    consumed, good = Key(), Key()
    ledger.measure(consumed, 5)
    ledger.measure(good, 5, "PRODUCTION")
    two = [
        {**issue, "measurement_address": key.measurement, "ggo_address": key.ggo}
        for key in (good, consumed)
    ]
    answer = post("/control/issue", json=two)
    assert answer.json == {"success": False, "message": "A GGO is issued on a production only"}
    assert refused(ledger.http.get(f"/state/{good.ggo}")) == (404, 75)
    assert post("/control/publish", json={"address": good.ggo}).status_code == 400


def test_faults_strike_as_often_as_told(ledger):
    """A refusal without the work, an error after the work, garbage, and codes of their own."""
    (one, _), (two, _) = ledger.moved(), ledger.moved()
    ledger.control("faults", {"endpoint": "/batches", "code": 15, "times": 2})
    assert refused(ledger.post(one)) == (503, 15)
    assert refused(ledger.post(one)) == (503, 15)
    assert ledger.status(one) == "UNKNOWN"
    ledger.control("faults", {"endpoint": "/batches", "code": 17, "process": True})
    assert refused(ledger.post(two)) == (503, 17)
    assert ledger.status(two) == "COMMITTED"
    ledger.control("faults", {"endpoint": "/batch_statuses", "status": 502, "body": "<oops>"})
    garbage = ledger.http.get("/batch_statuses?id=x")
    assert (garbage.status_code, garbage.text) == (502, "<oops>")
    ledger.control("faults", {"endpoint": "/state/*", "status": 500, "times": None})
    for _ in range(3):
        assert refused(ledger.http.get(f"/state/{Key().ggo}")) == (500, 10)
    listing = ledger.http.get("/control/faults").json["faults"]
    assert [(fault["struck"], fault["left"]) for fault in listing] == [(3, None)]
    ledger.http.delete("/control/faults")
    assert refused(ledger.http.get(f"/state/{Key().ggo}")) == (404, 75)


def test_a_cut_comes_before_or_after_the_work(ledger):
    (one, _), (two, _) = ledger.moved(), ledger.moved()
    for cut, good, status in (("before", one, "UNKNOWN"), ("after", two, "COMMITTED")):
        ledger.control("faults", {"endpoint": "/batches", "cut": cut})
        with pytest.raises(BrokenPipeError):
            ledger.post(good)
        assert ledger.status(good) == status


def test_a_fault_that_does_nothing_is_refused(ledger):
    answer = ledger.http.post("/control/faults", json={"endpoint": "/batches"})
    assert answer.status_code == 400
    assert "needs a delay" in answer.json["message"]


def test_calls_are_counted(ledger):
    ledger.http.get(f"/state/{Key().ggo}")
    ledger.http.get(f"/state/{Key().ggo}")
    seen = ledger.http.get("/control/calls").json
    assert seen["counts"] == {"GET /state/<address>": 2}
    assert [call["status"] for call in seen["calls"]] == [404, 404]
    ledger.control("reset")
    assert ledger.http.get("/control/calls").json["counts"] == {}
