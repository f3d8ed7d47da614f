"""The ledger's REST API and its control calls, with batches built by the ledger SDK."""

import base64
import json
import threading
from datetime import timedelta

import pytest

from sandbox.ledger import app, create_app
from sandbox.ledger.validator import Validator
from tests.support.waiting import eventually
from tests.unit.sandbox.batches import HOUR, Key, as_bytes, batch, split, transfer
from tests.unit.sandbox.sdk import BatchList, sdk

OCTETS = {"content_type": "application/octet-stream"}


class Driver:
    """Shortcuts for the tests' calls of the ledger."""

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
        """Return a valid batch that transfers 10 Wh, and the key that it spends."""
        source = Key()
        self.issue(source, 10)
        return batch(transfer(source, Key().ggo)), source


@pytest.fixture
def ledger():
    return Driver(Validator(block_time=0))


def test_a_batch_of_the_sdk_is_committed(ledger):
    """A split and two retires as the service sends them; the SDK can read the state."""
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
    assert retired.pop("emissions") is None
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


def in_plain_text(answer):
    return answer.status_code, answer.mimetype


def test_wrong_bodies_and_types_get_sawtooths_errors(ledger):
    post = ledger.http.post
    assert refused(post("/batches", data=b"nonsense", **OCTETS)) == (400, 35)
    assert refused(post("/batches", data=b"", **OCTETS)) == (400, 34)
    assert refused(post("/batches", json={})) == (400, 42)
    assert in_plain_text(post("/batches", data=b"x")) == (500, "text/plain")
    good, _ = ledger.moved()
    good.transactions[0].payload = b"{}"
    assert refused(ledger.post(good)) == (400, 30)


def test_unreadable_bodies_are_accepted_on_demand(ledger):
    ledger.control("tricks", {"nonsense": 1})
    assert ledger.http.post("/batches", data=b"nonsense", **OCTETS).status_code == 202
    assert refused(ledger.http.post("/batches", data=b"nonsense", **OCTETS)) == (400, 35)
    assert ledger.http.get("/control/batches").json["batches"] == []


def test_statuses_of_many(ledger):
    """GET takes as many as fit into the request line; POST needs the exact type and has no link."""
    good, _ = ledger.moved()
    ledger.post(good)
    ids = [good.header_signature, *(f"{number:0128x}" for number in range(80))]
    http = ledger.http
    by_get = http.get(f"/batch_statuses?id={','.join(ids[:60])}").json
    by_post = http.post("/batch_statuses", json=ids).json
    assert [one["status"] for one in by_post["data"]] == ["COMMITTED", *["UNKNOWN"] * 80]
    assert by_get["data"] == by_post["data"][:60]
    assert "link" in by_get
    assert "link" not in by_post
    too_many = http.get(f"/batch_statuses?id={','.join(ids)}")
    assert in_plain_text(too_many) == (400, "text/plain")
    assert refused(http.get("/batch_statuses")) == (400, 66)
    assert refused(http.get("/batch_statuses?id=abc")) == (400, 60)
    assert refused(http.post("/batch_statuses", json=[])) == (400, 46)
    assert refused(http.post("/batch_statuses", json={"id": ids})) == (400, 46)
    for content_type in ("text/plain", "application/json; charset=utf-8"):
        wrong = http.post("/batch_statuses", data="[]", content_type=content_type)
        assert refused(wrong) == (400, 43)
    assert in_plain_text(http.post("/batch_statuses", data="x")) == (500, "text/plain")
    bad_json = http.post("/batch_statuses", data="x", content_type="application/json")
    assert in_plain_text(bad_json) == (500, "text/plain")


def test_missing_state(ledger):
    assert refused(ledger.http.get(f"/state/{Key().ggo}")) == (404, 75)
    assert refused(ledger.http.get("/state/849c0b")) == (404, 75)
    assert refused(ledger.http.get("/state/849c0")) == (400, 62)
    assert refused(ledger.http.get("/state/no-address")) == (400, 62)
    assert ledger.http.get("/nowhere").status_code == 404


def test_a_batch_posted_again_is_the_same_batch(ledger):
    good, _ = ledger.moved()
    for _ in range(3):
        assert ledger.post(good).status_code == 202
    entry = ledger.listed(good)
    assert entry["posts"] == 3
    assert [step["status"] for step in entry["history"]] == ["PENDING", "COMMITTED"]


def test_an_invalid_batch_is_not_executed_again_while_it_is_remembered(ledger):
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
    eventually(lambda: ledger.listed(wrong)["status"] == "UNKNOWN", "the memory is over", within=2)
    assert [step["status"] for step in ledger.listed(wrong)["history"]] == [
        "PENDING",
        "INVALID",
        "UNKNOWN",
    ]


def test_an_invalid_batch_is_remembered_as_long_as_it_is_asked_about():
    ledger = Driver(Validator(block_time=0, invalid_memory=60))
    wrong = batch(transfer(Key(), Key().ggo))
    ledger.post(wrong)
    entry = ledger.validator._entries[wrong.header_signature]
    before = entry.forget_at
    assert ledger.status(wrong) == "INVALID"
    assert entry.forget_at > before


def test_batches_stay_pending_without_a_processor(ledger):
    good, _ = ledger.moved()
    ledger.control("tricks", {"processor_gone": True})
    ledger.post(good)
    assert ledger.status(good) == "PENDING"
    ledger.control("tricks", {"processor_gone": False})
    assert ledger.status(good) == "COMMITTED"


def test_calls_hang_while_the_validator_is_frozen(ledger, monkeypatch):
    """They time out after a long time, instead of failing with 503 at once."""
    monkeypatch.setattr(app, "HANG_S", 0.02)
    good, source = ledger.moved()
    ledger.control("tricks", {"frozen": True})
    assert refused(ledger.post(good)) == (503, 17)
    assert refused(ledger.http.get(f"/state/{source.ggo}")) == (503, 17)
    assert refused(ledger.http.get(f"/batch_statuses?id={good.header_signature}")) == (503, 17)
    monkeypatch.undo()
    hanging = threading.Thread(target=ledger.post, args=[good])
    hanging.start()
    ledger.control("tricks", {"frozen": False})
    hanging.join(10)
    assert ledger.status(good) == "COMMITTED"


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


def test_committed_batches_are_not_executed_again(ledger):
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
    assert ledger.status(wrapped_again) == "PENDING"
    history = [step["status"] for step in ledger.listed(wrapped_again)["history"]]
    assert history == ["PENDING", "STALLED"]
    ledger.control("forget")
    assert ledger.status(wrapped_again) == "UNKNOWN"


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


def test_faults_apply_to_the_given_number_of_calls(ledger):
    """An error instead of processing, an error after processing, garbage, and Sawtooth's codes."""
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


def test_a_cut_comes_before_or_after_processing(ledger):
    (one, _), (two, _) = ledger.moved(), ledger.moved()
    for cut, good, status in (("before", one, "UNKNOWN"), ("after", two, "COMMITTED")):
        ledger.control("faults", {"endpoint": "/batches", "cut": cut})
        with pytest.raises(BrokenPipeError):
            ledger.post(good)
        assert ledger.status(good) == status


def test_a_fault_without_effect_is_rejected(ledger):
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
