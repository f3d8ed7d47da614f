"""DataHub's endpoints and the issuing body, without Hydra and without HTTP."""

import time
from datetime import UTC, datetime, timedelta

import bip32utils
import pytest

from sandbox.datahub import create_app
from sandbox.datahub.technologies import TECHNOLOGIES
from sandbox.web import RefusalError
from tests.unit.sandbox.test_addresses import POINT, VECTOR

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
LABELS = set(
    "Biogas Biomass Coal Hydro Marine Naturalgas Nuclear Oil Solar Waste Wind".split()  # noqa: SIM905
)
CODES = {"technologyCode": "T020001", "fuelCode": "F01050100"}


class Tokens:
    """Takes a token for its user's name; `gone` is inactive, `down` can't be checked."""

    def subject(self, token):
        if token == "down":
            raise RefusalError(503, "Tokens can't be checked now")
        return None if token == "gone" else token


class Ledger:
    def __init__(self):
        self.published, self.issued = [], []

    def publish(self, measurements):
        self.published += measurements

    def issue(self, ggos):
        self.issued += ggos


class Driver:
    def __init__(self):
        self.ledger = Ledger()
        self.http = create_app(Tokens(), self.ledger).test_client()

    def post(self, path, body=None, token="anna"):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.http.post(path, json=body, headers=headers)

    def control(self, path, body):
        answer = self.http.post(f"/control/{path}", json=body)
        assert answer.status_code == 200, answer.json
        return answer.json

    def add(self, gsrn, kind, sub="anna", key=POINT, **fields):
        point = {"sub": sub, "gsrn": gsrn, "type": kind, "sector": "DK1", **fields}
        self.control("meteringpoints", {"meteringpoints": [point]})
        if key:
            body = {"gsrn": gsrn, "key": key}
            assert self.post("/meteringpoints/set-key", body, token=sub).json == {"success": True}

    def publish(self, gsrn, *amounts, **more):
        measurements = [
            {"gsrn": gsrn, "begin": (NOON + timedelta(hours=hour)).isoformat(), "amount": amount}
            for hour, amount in enumerate(amounts)
        ]
        return self.control("measurements", {"measurements": measurements, **more})["measurements"]


@pytest.fixture
def datahub():
    return Driver()


@pytest.mark.parametrize(("token", "status"), [("", 401), ("gone", 401), ("down", 503)])
@pytest.mark.parametrize(
    "path",
    [
        "/meteringpoints",
        "/meteringpoints/set-key",
        "/measurements",
        "/measurements/consumed",
        "/measurements/summary",
        "/ggo",
        "/webhook/on-ggo-issued/subscribe",
        "/webhook/on-ggo-issued/unsubscribe",
        "/webhook/on-meteringpoint-available/subscribe",
        "/webhook/on-meteringpoint-available/unsubscribe",
    ],
)
def test_the_token_is_checked_first(datahub, path, token, status):
    answer = datahub.post(path, {"what": "ever"}, token=token)
    assert (answer.status_code, answer.json["success"]) == (status, False)


def test_users_see_only_their_own_points(datahub):
    datahub.add("1", "production", cityName="Ry", **CODES)
    datahub.add("2", "consumption", sub="bo")
    (point,) = datahub.post("/meteringpoints").json["meteringpoints"]
    assert (point["gsrn"], point["type"], point["cityName"]) == ("1", "production", "Ry")
    assert point["streetName"] is None
    taken = {"sub": "anna", "gsrn": "2", "type": "consumption", "sector": "DK1"}
    answer = datahub.http.post("/control/meteringpoints", json={"meteringpoints": [taken]})
    assert answer.status_code == 409


def test_addresses_match_the_contracts_vector(datahub):
    datahub.add("1", "production", **CODES)
    order = {"gsrn": "1", "begin": NOON.isoformat(), "amount": 500, "emissions": {"CO2": 0.1}}
    (ggo,) = datahub.control("ggos", {"ggos": [order]})["ggos"]
    (published,), (issued,) = datahub.ledger.published, datahub.ledger.issued
    assert ggo["address"] == issued["ggo_address"] == VECTOR["GGO"]
    assert published["address"] == issued["measurement_address"] == VECTOR["MEASUREMENT"]
    assert (published["type"], published["amount"]) == ("PRODUCTION", 500)
    assert (ggo["begin"], ggo["end"]) == ("2020-01-01T12:00:00+00:00", "2020-01-01T13:00:00+00:00")
    assert (issued["tech_type"], issued["fuel_type"]) == ("T020001", "F01050100")
    in_range = {"begin": NOON.isoformat(), "end": NOON.isoformat()}
    assert datahub.post("/ggo", {"gsrn": "1", "beginRange": in_range}).json["ggos"] == [ggo]


def refused(datahub, path, body):
    answer = datahub.http.post(f"/control/{path}", json=body)
    assert not datahub.ledger.issued
    return answer.status_code, answer.json["message"]


def test_nothing_is_issued_before_the_key_is_set(datahub):
    datahub.add("1", "production", key=None, **CODES)
    order = {"gsrn": "1", "begin": NOON.isoformat(), "amount": 500}
    for path, body in (("ggos", {"ggos": [order]}), ("measurements", {"measurements": [order]})):
        status, message = refused(datahub, path, body)
        assert (status, "set-key" in message) == (409, True)


def test_invalid_issues_are_rejected(datahub):
    datahub.add("1", "production")
    datahub.add("2", "consumption", **CODES)
    datahub.add("3", "production", **CODES)
    datahub.publish("3", 100)

    def order(gsrn, begin=NOON, amount=500):
        return {"ggos": [{"gsrn": gsrn, "begin": begin.isoformat(), "amount": amount}]}

    assert refused(datahub, "ggos", order("1"))[0] == 409
    assert refused(datahub, "ggos", order("2"))[0] == 409
    assert refused(datahub, "ggos", order("3"))[1] == "100 Wh were measured, not 500"
    assert refused(datahub, "ggos", order("9"))[0] == 400
    assert refused(datahub, "ggos", order("3", begin=datetime(2038, 2, 1, tzinfo=UTC)))[0] == 400
    datahub.control("ggos", order("3", amount=100))
    answer = datahub.http.post("/control/ggos", json=order("3", amount=100))
    assert answer.json["message"].startswith("Issued already")


def test_a_key_must_be_an_extended_private_key_of_an_own_point(datahub):
    datahub.add("1", "consumption", key=None)
    datahub.add("2", "consumption", sub="bo", key=None)
    public = bip32utils.BIP32Key.fromExtendedKey(POINT).ExtendedKey(private=False)
    other = bip32utils.BIP32Key.fromExtendedKey(POINT).ChildKey(1).ExtendedKey()

    def set_key(gsrn, key):
        return datahub.post("/meteringpoints/set-key", {"gsrn": gsrn, "key": key}).status_code

    assert [set_key("1", key) for key in ("", "nonsense", POINT[:-1], public)] == [400] * 4
    assert set_key("2", POINT) == set_key("9", POINT) == 400
    assert set_key("1", other) == set_key("1", POINT) == set_key("1", POINT) == 200
    datahub.publish("1", 10)
    assert set_key("1", other) == 400
    keys = datahub.http.get("/control/keys?gsrn=1").json
    assert keys["complete"]
    assert (keys["keys"][0]["key"], len(keys["keys"][0]["calls"])) == (POINT, 8)
    assert not datahub.http.get("/control/keys").json["complete"]


def test_measurements_come_in_pages(datahub):
    datahub.add("1", "consumption")
    datahub.publish("1", *range(10, 15))
    datahub.control("settings", {"page_limit": 2})

    def page(**wish):
        answer = datahub.post("/measurements", {"filters": {}, **wish}).json
        return answer["total"], [one["amount"] for one in answer["measurements"]]

    assert page() == (5, [10, 11])
    assert page(offset=2, limit=100) == (5, [12, 13])
    assert page(offset=4, limit=1) == (5, [14])
    assert page(offset=9) == (5, [])


def test_measurements_are_filtered(datahub):
    datahub.add("1", "consumption")
    datahub.add("2", "production")
    datahub.add("3", "consumption", sub="bo")
    datahub.publish("1", 1, 2, 3)
    datahub.publish("2", 4)
    datahub.publish("3", 5)

    def found(**filters):
        answer = datahub.post("/measurements", {"filters": filters}).json
        return sorted(one["amount"] for one in answer["measurements"])

    later = (NOON + timedelta(hours=1)).isoformat()
    assert found() == [1, 2, 3, 4]
    assert found(begin=NOON.isoformat(), sector=None) == [1, 4]
    assert found(beginRange={"begin": NOON.isoformat(), "end": later}) == [1, 2, 4]
    assert found(type="production") == found(gsrn=["2"]) == [4]
    assert found(sector="DK2") == found(sector=["DK2"]) == []
    wrong = {"filters": {"beginRange": {"begin": later, "end": NOON.isoformat()}}}
    assert datahub.post("/measurements", wrong).status_code == 400


def series(datahub, gsrn, *amounts, begin=NOON, seconds=3600):
    body = {"gsrn": gsrn, "begin": begin.isoformat(), "seconds": seconds, "amounts": amounts}
    datahub.control("series", body)


def summary(datahub, **wish):
    body = {"filters": {}, "resolution": "hour", "grouping": ["gsrn"], "fill": False, **wish}
    answer = datahub.post("/measurements/summary", body).json
    assert answer["success"], answer
    return answer["labels"], [(each["group"], each["values"]) for each in answer["groups"]]


def test_a_summary_hides_quarters_of_an_hour(datahub):
    datahub.add("1", "consumption")
    datahub.add("2", "consumption")
    datahub.add("3", "consumption", sub="bo")
    series(datahub, "1", 1, 2, 3, 4, 5, seconds=900)
    series(datahub, "2", 10, 0, begin=NOON + timedelta(hours=1))
    series(datahub, "3", 100)
    hours = ["2020-01-01 12:00", "2020-01-01 13:00", "2020-01-01 14:00"]
    each = [(["1"], [10, 5, None]), (["2"], [None, 10, 0])]
    assert summary(datahub) == (hours, each)
    assert summary(datahub, grouping=[]) == (hours, [([], [10, 15, 0])])
    assert summary(datahub, filters={"gsrn": ["2"]}) == (hours[1:], [(["2"], [10, 0])])
    assert summary(datahub, filters={"type": "production"}) == ([], [])
    assert summary(datahub, resolution="month") == (["2020-01"], [(["1"], [15]), (["2"], [10])])
    assert summary(datahub, utcOffset=12, resolution="day")[0] == ["2020-01-02"]
    # Filled labels don't include the end of the range.
    ends = {"begin": (NOON - timedelta(hours=1)).isoformat(), "end": NOON.isoformat()}
    filled = summary(datahub, filters={"beginRange": ends}, fill=True)
    assert filled == (["2020-01-01 11:00"], [(["1"], [None])])


@pytest.mark.parametrize("missing", ["filters", "resolution", "grouping", "fill"])
def test_a_summary_requires_all_fields(datahub, missing):
    body = {"filters": {}, "resolution": "hour", "grouping": [], "fill": False}
    del body[missing]
    assert datahub.post("/measurements/summary", body).status_code == 400


@pytest.mark.parametrize("grouping", [["sector"], ["type"], ["gsrn", "sector"]])
def test_a_summary_with_another_grouping_fails(datahub, grouping):
    body = {"filters": {}, "resolution": "hour", "grouping": grouping, "fill": False}
    assert datahub.post("/measurements/summary", body).status_code == 500


def test_a_series_has_the_addresses_that_single_measurements_have(datahub):
    datahub.add("1", "consumption")
    datahub.add("2", "consumption")
    published = datahub.publish("1", 7, 8)
    series(datahub, "2", 7, 8)
    found = datahub.post("/measurements", {"filters": {"gsrn": ["2"]}}).json["measurements"]
    assert found == [{**each, "gsrn": "2"} for each in published]


def test_rows_take_time_and_sums_do_not(datahub):
    datahub.add("1", "consumption")
    series(datahub, "1", *range(20))

    def took(path, body):
        begun = time.monotonic()
        assert datahub.post(path, body).status_code == 200
        return time.monotonic() - begun

    begins = {"begin": NOON.isoformat(), "end": NOON.isoformat()}
    datahub.control("settings", {"row_seconds": 0.01})
    assert took("/measurements", {"filters": {}}) >= 0.2
    assert took("/measurements", {"filters": {}, "limit": 1}) >= 0.01
    assert took("/measurements/consumed", {"gsrn": "1", "begin": NOON.isoformat()}) >= 0.01
    datahub.control("settings", {"row_seconds": 60})
    summary(datahub)
    assert took("/ggo", {"gsrn": "1", "beginRange": begins}) < 60


def test_the_same_subscription_twice_gets_every_event_twice(datahub):
    body = {"url": "http://127.0.0.1:9/hook", "secret": "s"}

    def call(verb, **fields):
        return datahub.post(f"/webhook/on-ggo-issued/{verb}", body | fields).json["success"]

    def count():
        return len(datahub.http.get("/control/subscriptions").json["subscriptions"])

    assert not call("unsubscribe")
    assert call("subscribe")
    assert call("subscribe")
    assert count() == 2
    assert not call("unsubscribe", secret="another")
    assert call("unsubscribe")
    assert count() == 0


def test_the_consumption_of_an_hour(datahub):
    datahub.add("1", "consumption")
    datahub.add("2", "production")
    (measurement,) = datahub.publish("1", 70)
    datahub.publish("2", 80)

    def consumed(gsrn, begin=NOON, token="anna"):
        body = {"gsrn": gsrn, "begin": begin.isoformat()}
        return datahub.post("/measurements/consumed", body, token=token)

    none = {"success": False, "measurement": None}
    assert consumed("1").json == {"success": True, "measurement": measurement}
    assert consumed("1", NOON + timedelta(hours=1)).json == none
    assert consumed("2").json == none
    assert consumed("1", token="bo").status_code == 400


def test_a_correction_does_not_change_the_ledger(datahub):
    datahub.add("1", "consumption")
    datahub.publish("1", 70)
    (corrected,) = datahub.publish("1", 60, correct=True)
    assert corrected["amount"] == 60
    assert [one["amount"] for one in datahub.ledger.published] == [70]
    again = {"gsrn": "1", "begin": NOON.isoformat(), "amount": 1}
    assert refused(datahub, "measurements", {"measurements": [again]})[0] == 409


def test_technologies_need_no_token_and_have_the_labels_of_the_contract(datahub):
    listed = datahub.post("/technologies", token="").json["technologies"]
    assert listed == TECHNOLOGIES
    assert {one["technology"] for one in listed} == LABELS
    assert len({(one["technologyCode"], one["fuelCode"]) for one in listed}) == len(listed) > 24


def test_unknown_fields_are_rejected(datahub):
    answer = datahub.post("/measurements", {"filters": {"city": "Ry"}})
    assert answer.status_code == 400
    assert "city" in answer.json["message"]
