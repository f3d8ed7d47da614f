"""EnergyType's residual mix, and the webhook receiver."""

import base64
import hashlib
import hmac
from collections import Counter

import pytest

from sandbox import energytype, receiver

DAY = {"begin_from": "2020-01-01T00:00:00Z", "begin_to": "2020-01-02T00:00:00Z"}


@pytest.fixture
def mix():
    return energytype.create_app().test_client()


def rows(mix, sector="DK1", **query):
    answer = mix.get("/residual-mix", query_string={"sector": sector, **DAY, **query})
    assert answer.status_code == 200, answer.json
    return answer.json["mix_emissions"]


def test_the_mix_is_always_the_same(mix):
    first = rows(mix, sector=["DK1", "DK2"])
    assert first == rows(energytype.create_app().test_client(), sector=["DK1", "DK2"])
    per_hour = Counter((row["timestamp_utc"], row["sector"]) for row in first)
    assert len(per_hour) == 48
    assert first[0]["timestamp_utc"] == "2020-01-01T00:00:00Z"
    assert first[-1]["timestamp_utc"] == "2020-01-01T23:00:00Z"
    assert all(isinstance(row["amount"], int) and row["amount"] >= 0 for row in first)
    assert {"CO2", "CH4", "SO2"} <= set(first[0])
    assert rows(mix, sector="DK1") != [{**row, "sector": "DK1"} for row in rows(mix, sector="DK2")]


def test_the_range_excludes_its_end(mix):
    one = rows(mix, begin_to="2020-01-01T01:00:00+00:00")
    assert {row["timestamp_utc"] for row in one} == {"2020-01-01T00:00:00Z"}
    assert rows(mix, begin_to=DAY["begin_from"]) == []


def test_rows_are_set_and_hidden(mix):
    row = {
        "timestamp_utc": "2020-01-01T00:00:00+00:00",
        "sector": "DK1",
        "technology": "Coal",
        "amount": 1000,
        "CO2": 500,
        "share": 0.5,
    }
    mix.post("/control/rows", json=[row, {**row, "technology": "Wind"}])
    mix.post("/control/settings", json={"generated": False, "times": "offset"})
    assert rows(mix) == [row, {**row, "technology": "Wind"}]
    mix.post("/control/settings", json={"times": "naive"})
    assert rows(mix)[0]["timestamp_utc"] == "2020-01-01T00:00:00"
    gap = {"begin": "2020-01-01T00:00:00Z", "end": "2020-01-01T01:00:00Z"}
    mix.post("/control/hide", json={**gap, "sector": "DK2"})
    assert len(rows(mix)) == 2
    mix.post("/control/hide", json=gap)
    assert rows(mix) == []
    mix.post("/control/reset")
    assert len({row["timestamp_utc"] for row in rows(mix)}) == 24


@pytest.mark.parametrize("wrong", [{"sector": []}, {"begin_from": "x"}, {"begin_to": ""}])
def test_a_wrong_query_is_400(mix, wrong):
    answer = mix.get("/residual-mix", query_string={"sector": "DK1", **DAY, **wrong})
    assert answer.status_code == 400


def test_deliveries_are_recorded_and_their_signatures_checked():
    http = receiver.create_app("s3cret").test_client()
    body = b'{"sub": "anna"}'
    signature = base64.b64encode(hmac.new(b"s3cret", body, hashlib.sha256).digest()).decode()
    for value in (f"sha256={signature}", signature, "sha256=x"):
        http.post("/hook/one", data=body, headers={"x-hub-signature": value})
    http.post("/hook", data=b"\xff no JSON")
    got = http.get("/control/deliveries").json["deliveries"]
    assert [one["verified"] for one in got] == [True, False, False, False]
    assert (got[0]["path"], got[0]["json"]) == ("/hook/one", {"sub": "anna"})
    assert (got[0]["body"], got[3]["json"]) == ('{"sub": "anna"}', None)
    assert len(http.get("/control/deliveries?path=/hook/one").json["deliveries"]) == 3


@pytest.mark.parametrize("secret", ["s3cret", "whsec_" + base64.b64encode(b"k\x00y").decode()])
def test_standard_webhooks_are_checked_too(secret):
    http = receiver.create_app().test_client()
    http.post("/control/secrets", json={"secret": secret, "path": "/hook/one"})
    key = b"k\x00y" if secret.startswith("whsec_") else b"s3cret"
    digest = hmac.new(key, b"id-1.1600000000.{}", hashlib.sha256).digest()
    headers = {
        "webhook-id": "id-1",
        "webhook-timestamp": "1600000000",
        "webhook-signature": "v1,eA== v1," + base64.b64encode(digest).decode(),
    }
    http.post("/hook/one", data=b"{}", headers=headers)
    http.post("/hook/one", data=b"{} ", headers=headers)
    http.post("/hook/one", data=b"{}")
    got = http.get("/control/deliveries").json["deliveries"]
    assert [one["standard_verified"] for one in got] == [True, False, None]


def test_deliveries_answered_by_a_fault_are_recorded():
    http = receiver.create_app().test_client()
    http.post("/control/faults", json={"endpoint": "/hook*", "status": 410, "process": True})
    assert http.post("/hook/one", data=b"{}").status_code == 410
    assert http.post("/hook/one", data=b"{}").status_code == 200
    assert len(http.get("/control/deliveries").json["deliveries"]) == 2
