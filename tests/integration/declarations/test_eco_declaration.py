"""`/eco-declaration` with peers that work or fail (contract: http-api.md, Environment declarations)."""

import logging
import time
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader

from origin.declarations import service
from sandbox.clients import Control
from tests.integration.declarations.consumer import Consumer
from tests.support.market import BEGIN, BOBS_CONSUMPTION, CONSUMPTION, OTHER_CONSUMPTION, PRODUCTION

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def test_the_worked_example_with_a_retire_in_flight(consumer: Consumer) -> None:
    ten, eleven = BEGIN, BEGIN + HOUR
    consumer.consume(amount=100, begin=ten)
    consumer.consume(amount=200, begin=eleven)
    wind = consumer.issue(50, ten, emissions={"CO2": 0.1, "SO2": 1})
    assert consumer.compose(wind, retires=[(40, CONSUMPTION)]).status_code == 200
    consumer.mix(
        (ten, "Coal", 600, {"CO2": 300, "share": 0.5, "note": "half", "CO": None}),
        (ten, "Wind", 1000, {"CH4": 10}),
        (ten, "Coal", 400, {"CO2": 200}),
        (eleven, "Coal", 1000, {"CO2": 600}),
    )
    consumer.sandbox.energytype.settings(times="naive")
    individual, general = consumer.declared(ten, eleven)
    first, second = ten.isoformat(), eleven.isoformat()
    assert individual["emissions"] == {
        first: {"CO2": 19.0, "CH4": 0.3, "SO2": 40.0},
        second: {"CO2": 120.0, "CH4": 0.0, "SO2": 0.0},
    }
    assert individual["totalEmissions"] == {"CO2": 139.0, "CH4": 0.3, "SO2": 40.0}
    assert individual["totalEmissionsPerWh"]["CO2"] == pytest.approx(0.46333, abs=1e-5)
    assert individual["consumedAmount"] == {first: 100, second: 200}
    assert individual["retiredAmount"] == {first: 40, second: 0}
    assert individual["totalTechnologies"] == {"Wind": 70, "Coal": 230}
    assert general["totalEmissions"] == {"CO2": 1100.0, "CH4": 10.0}
    assert general["totalTechnologies"] == {"Coal": 2000, "Wind": 1000}

    as_one, _ = consumer.declared(
        "2020-01-01 14:00",
        "2020-01-01T15:00",
        resolution="all",
        utcOffset=2,
        gsrn=[CONSUMPTION] * 2,
    )
    assert as_one["consumedAmount"] == {"2020-01-01T14:00:00+02:00": 300}
    assert as_one["totalRetiredAmount"] == 40


def test_pages_of_both_peers(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = BEGIN + DAY
    points = [CONSUMPTION, OTHER_CONSUMPTION]
    consumer.sandbox.datahub.publish_many(
        [
            {"gsrn": gsrn, "begin": begin + hour * HOUR, "amount": 10}
            for gsrn in points
            for hour in range(5)
        ]
    )
    monkeypatch.setattr("origin.declarations.client.energytypes.HOURS_PER_CALL", 2)
    consumer.sandbox.datahub.settings(page_limit=3)
    consumer.sandbox.datahub.forget_calls()
    consumer.sandbox.energytype.forget_calls()
    individual, general = consumer.declared(begin, begin + 4 * HOUR, gsrn=points, resolution="day")
    consumer.sandbox.datahub.settings(page_limit=1000)
    assert individual["consumedAmount"] == {"2020-01-02T00:00:00+00:00": 100}
    assert individual["totalConsumedAmount"] == 100
    assert general["totalTechnologies"]["Wind"] > 0
    assert consumer.sandbox.datahub.count("POST /measurements") == 4
    assert consumer.sandbox.energytype.count("GET /residual-mix") == 3

    # For a range of decades, only the mix of the measured hours is fetched.
    consumer.sandbox.energytype.forget_calls()
    far, _ = consumer.declared(begin, "2037-01-01T00:00:00+00:00", gsrn=[OTHER_CONSUMPTION])
    assert far["totalConsumedAmount"] == 50
    assert consumer.sandbox.energytype.count("GET /residual-mix") == 3


def test_gaps_and_corrections_are_logged(
    consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    begin = BEGIN + 2 * DAY
    for hour in range(3):
        consumer.consume(amount=100, begin=begin + hour * HOUR)
    assert consumer.compose(consumer.issue(100, begin), retires=[(100, CONSUMPTION)]).json[
        "success"
    ]
    consumer.sandbox.datahub.publish_many(
        [{"gsrn": CONSUMPTION, "begin": begin, "amount": 60}], correct=True, ledger=False
    )
    consumer.sandbox.energytype.hide(begin + HOUR, begin + 2 * HOUR)
    with caplog.at_level(logging.WARNING):
        individual, _ = consumer.declared(begin, begin + 2 * HOUR)
    assert individual["consumedAmount"] == {
        begin.isoformat(): 60,
        (begin + 2 * HOUR).isoformat(): 100,
    }
    assert individual["totalRetiredAmount"] == 60
    assert "1 hours left out" in caplog.text
    assert "1 measurements have more retired to them" in caplog.text


def test_invalid_requests_are_rejected(consumer: Consumer) -> None:
    unknown = consumer.ask(gsrn=[CONSUMPTION, PRODUCTION, BOBS_CONSUMPTION, PRODUCTION])
    assert unknown.status_code == 400
    unavailable = f"MeteringPoint unavailable (GSRN: {PRODUCTION}, {BOBS_CONSUMPTION})"
    assert unknown.json == {"success": False, "message": unavailable}
    wrong: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"gsrn": []}, {"gsrn": ["Length must be between 1 and 10000."]}),
        (
            {"beginRange": {"begin": "2020-01-02T00:00Z", "end": "2020-01-01T00:00Z"}},
            {"beginRange": {"end": ["end must not be before begin."]}},
        ),
        (
            {"beginRange": {"begin": "2020-01-01T00:00Z", "end": "2020-01-02T00:00+01:00"}},
            {"beginRange": {"end": ["begin and end must have the same offset."]}},
        ),
        (
            {"beginRange": {"begin": "2020-01-01T00:00Z", "end": "9999-12-31T23:30Z"}},
            {"beginRange": {"end": ["Not a valid datetime."]}},
        ),
    ]
    for body, message in wrong:
        rejected = consumer.ask(**body)
        assert (rejected.status_code, rejected.json["message"]) == (400, message)
    for body in ({"resolution": "week"}, {"utcOffset": 24}, {"utcOffset": 1.5}, {"beginRange": {}}):
        assert consumer.ask(**body).status_code == 400
    assert consumer.post("/eco-declaration", {}).status_code == 401


@pytest.mark.parametrize("path", ["/eco-declaration", "/eco-declaration/export-pdf"])
def test_a_peer_that_is_down(consumer: Consumer, path: str) -> None:
    datahub, energytype = consumer.sandbox.datahub, consumer.sandbox.energytype
    for peer, fault, status, name in (
        (datahub, {"status": 500}, 503, "DataHubService"),
        (datahub, {"cut": "before"}, 503, "DataHubService"),
        (datahub, {"status": 200, "body": {"success": True, "total": 1}}, 502, "DataHubService"),
        (energytype, {"status": 503}, 503, "EnergyTypeService"),
        (energytype, {"cut": "after"}, 503, "EnergyTypeService"),
        (energytype, {"status": 200, "body": {"success": True}}, 502, "EnergyTypeService"),
        (
            energytype,
            {"status": 200, "body": {"success": True, "mix_emissions": [{"amount": -1}]}},
            502,
            "EnergyTypeService",
        ),
    ):
        peer.fault(**fault)
        answer = consumer.ask(path=path)
        assert (answer.status_code, answer.json["success"]) == (status, False)
        assert name in answer.json["message"]
        assert ("Retry-After" in answer.headers) == (status == 503)
        assert consumer.ask(path=path).status_code == 200


def test_a_spent_token_is_renewed_once(consumer: Consumer) -> None:
    consumer.sandbox.datahub.fault("/measurements", status=401)
    before = consumer.sandbox.hydra.count("POST /oauth2/token")
    assert consumer.ask().status_code == 200
    assert consumer.sandbox.hydra.count("POST /oauth2/token") == before + 1


@pytest.mark.parametrize("path", ["/eco-declaration", "/eco-declaration/export-pdf"])
def test_revoked_tokens_of_the_account_answer_403_not_401(consumer: Consumer, path: str) -> None:
    consumer.hydra.control("revoke", {"sub": "alice"})
    consumer.tokens["alice"] = consumer.token("alice")
    answer = consumer.ask(path=path)
    assert answer.status_code == 403
    assert "log in here again" in answer.json["message"]
    assert "WWW-Authenticate" not in answer.headers
    consumer.login("alice")
    assert consumer.ask(path=path).status_code == 200


def test_the_peers_are_asked_at_the_same_time_and_have_a_time_limit(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    datahub, energytype = consumer.sandbox.datahub, consumer.sandbox.energytype
    datahub.fault(delay_before=1.0)
    energytype.fault(delay_before=1.0)
    assert consumer.ask().status_code == 200
    first, second = (_last_call(peer) for peer in (datahub, energytype))
    assert abs(first - second) < timedelta(seconds=0.9)

    monkeypatch.setattr(service, "PATIENCE_S", 0.3)
    energytype.fault(delay_before=30)
    begun = time.monotonic()
    answer = consumer.ask()
    assert (answer.status_code, answer.json["message"]) == (
        503,
        "EnergyTypeService is out of reach",
    )
    assert time.monotonic() - begun < 10
    energytype.clear_faults()


def _last_call(peer: Control) -> datetime:
    return datetime.fromisoformat(peer.calls()[-1]["at"])


def test_the_pdf_by_language(consumer: Consumer) -> None:
    begin = BEGIN + 3 * DAY
    consumer.consume(amount=100, begin=begin)
    assert consumer.compose(consumer.issue(60, begin), retires=[(60, CONSUMPTION)]).json["success"]
    path = "/eco-declaration/export-pdf"
    for accepted, language, title in (
        ("da-DK,da;q=0.9,en;q=0.8", "da", "Miljødeklaration"),
        ("fr", "en", "Environment declaration"),
    ):
        answer = consumer.ask(begin, path=path, headers={"Accept-Language": accepted})
        assert answer.status_code == 200, answer.text
        assert answer.mimetype == "application/pdf"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Language"] == language
        assert answer.headers["Content-Disposition"] == (
            'attachment; filename="EnvironmentDeclaration.pdf"'
        )
        text = PdfReader(BytesIO(answer.data)).pages[0].extract_text()
        assert title in text
        assert CONSUMPTION in PdfReader(BytesIO(answer.data)).pages[1].extract_text()
        assert ("60,0 %" if language == "da" else "60.0 %") in text
