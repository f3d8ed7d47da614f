"""DataHub's webhooks: signed, in any order, repeated, wrong."""

from datetime import UTC, datetime

import orjson
import pytest

from origin.keys.derivation import (
    AddressKind,
    ExtendedKey,
    metering_point_key,
    new_master_key,
    period_key,
)
from tests.support.world import World, at_once, ggo_of

GSRN = "571313180400000012"
OTHER = "571313180400000029"
ADDRESS = "849c0b" + "1" * 64


def _address_of_our_key(world: World, subject: str, key_index: int = 0) -> str:
    sealed = world.value("SELECT master_key FROM users WHERE subject = :s", s=subject)
    master = ExtendedKey.from_base58(
        world.runtime.sealer.open(sealed, f"users.master_key:{subject}")
    )
    begin = datetime(2020, 1, 1, 12, tzinfo=UTC)
    return period_key(metering_point_key(master, key_index), begin).address(AddressKind.GGO)


def _registration(subject: str, gsrn: str) -> dict[str, str]:
    return {"sub": subject, "gsrn": gsrn, "type": "production", "sector": "DK1"}


def _kept(world: World) -> int:
    return int(world.value("SELECT count(*) FROM kept_events"))


@pytest.mark.parametrize(
    "path", ["on-meteringpoint-available", "on-meteringpoints-available", "on-ggo-issued"]
)
def test_the_signature_is_checked_first(world: World, path: str) -> None:
    for signature in ("sha256=AAAA", "", "sha1=x", "sha256=æ"):
        response = world.webhook(path, b"not even json", signature=signature or " ")
        assert response.status_code == 401
        assert response.json["success"] is False
    assert world.client().post(f"/webhook/{path}", data=b"{}").status_code == 401


def test_bodies_are_checked_after_the_signature(world: World) -> None:
    post = world.webhook
    assert post("on-ggo-issued", b"").json["message"] == "No JSON body provided"
    assert post("on-ggo-issued", b"{").json["message"] == "Bad JSON body provided"
    assert post("on-ggo-issued", {}).json["message"] == {
        "ggo": ["Missing data for required field."],
        "sub": ["Missing data for required field."],
    }
    assert post("on-ggo-issued", {"sub": "a", "ggo": {}, "x": 1}).json["message"]["x"] == [
        "Unknown field."
    ]


def test_signature_is_over_the_raw_bytes(world: World) -> None:
    world.new_user("alice")
    assert world.webhook("on-meteringpoints-available", b'{ "sub" :\n"alice" }').json == {
        "success": True
    }


def test_metering_point_is_stored_once(world: World) -> None:
    user_id = world.new_user("alice")
    assert world.point("alice", GSRN, technologyCode=None, streetName="Vej").json == {
        "success": True
    }
    assert world.point("alice", GSRN).json == {"success": True}
    assert world.point("alice", OTHER, type="consumption").json == {"success": True}
    points = world.rows("SELECT * FROM metering_points ORDER BY id")
    assert [(p.user_id, p.gsrn, p.type, p.key_index) for p in points] == [
        (user_id, GSRN, "production", 0),
        (user_id, OTHER, "consumption", 1),
    ]
    assert world.value("SELECT count(*) FROM datahub_jobs WHERE kind = 'send_key'") == 2


def test_repeat_corrects_type_and_sector(world: World) -> None:
    world.new_user("alice")
    world.point("alice", GSRN)
    before = world.rows("SELECT id, key_index FROM metering_points")
    assert world.point("alice", GSRN, type="consumption", sector="DK2").json == {"success": True}
    point = world.rows("SELECT * FROM metering_points")[0]
    assert (point.type, point.sector) == ("consumption", "DK2")
    assert [(point.id, point.key_index)] == before


def test_a_metering_point_of_another_user_is_left(world: World) -> None:
    world.new_user("alice")
    world.new_user("bob")
    world.point("alice", GSRN)
    assert world.point("bob", GSRN, sector="DK2").json == {"success": False}
    point = world.rows(
        "SELECT m.*, u.subject FROM metering_points m JOIN users u ON u.id = user_id"
    )
    assert [(p.subject, p.sector) for p in point] == [("alice", "DK1")]
    assert world.value("SELECT next_metering_point_index FROM users WHERE subject = 'bob'") == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("type", "exchange"), ("type", None), ("gsrn", ""), ("gsrn", "a\0"), ("sector", None)],
)
def test_wrong_metering_points_are_rejected(world: World, field: str, value: object) -> None:
    point = {"gsrn": GSRN, "type": "production", "sector": "DK1", field: value}
    response = world.webhook("on-meteringpoint-available", {"sub": "alice", "meteringpoint": point})
    assert response.status_code == 400
    assert list(response.json["message"]["meteringpoint"]) == [field]


def test_ggo_is_stored_once(world: World) -> None:
    world.new_user("alice")
    world.point("alice", GSRN)
    address = _address_of_our_key(world, "alice")
    for _ in range(2):
        response = world.ggo("alice", GSRN, address=address)
        assert (response.status_code, response.json) == (200, {"success": True})
    assert world.listed("alice") == [
        {
            "address": address,
            "sector": "DK1",
            "begin": "2020-01-01T12:00:00+00:00",
            "end": "2020-01-01T13:00:00+00:00",
            "amount": 100,
            "technology": None,
            "technologyCode": "T010000",
            "fuelCode": "F01040100",
            "emissions": {"CO2": 1.5},
            "issueGsrn": GSRN,
        }
    ]
    assert world.value("SELECT key_mismatch FROM ggos") is False


@pytest.mark.parametrize("changed", ["key_index", "master_key"])
def test_a_cached_metering_point_is_compared_with_the_stored_one(
    world: World, changed: str
) -> None:
    """After a restore of the database a running web may remember other keys than are stored."""
    world.new_user("alice")
    world.point("alice", GSRN)
    assert world.ggo("alice", GSRN, address=_address_of_our_key(world, "alice")).json["success"]
    world.rows("DELETE FROM ggos")
    if changed == "key_index":
        world.rows("UPDATE metering_points SET key_index = 7")
    else:
        sealed = world.runtime.sealer.seal(new_master_key().base58(), "users.master_key:alice")
        world.rows("UPDATE users SET master_key = :key", key=sealed)
    key_index = world.value("SELECT key_index FROM metering_points")
    address = _address_of_our_key(world, "alice", key_index)
    assert world.ggo("alice", GSRN, address=address).json == {"success": True}
    assert world.value("SELECT key_mismatch FROM ggos") is False


LOOK_UP = "origin.intake.service.events.find_owner_and_point"
SECOND = "849c0b" + "2" * 64


def _rotated_behind_the_cache(world: World) -> None:
    """Alice has a point, a subscription and a GGO; the cached point has her key before a rotation."""
    world.new_user("alice")
    world.point("alice", GSRN)
    body = {"url": "http://93.184.215.14/hook", "secret": "s"}
    subscribed = world.post("/webhook/on-ggo-received/subscribe", body, world.token("alice"))
    assert subscribed.json == {"success": True}
    assert world.ggo("alice", GSRN).json == {"success": True}
    world.rotate_key("alice")


def test_a_key_rotation_between_look_up_and_insert_loses_no_ggo(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _rotated_behind_the_cache(world)
    world.rotate_key_after(monkeypatch, LOOK_UP, "alice", times=1)
    address = _address_of_our_key(world, "alice")
    response = world.ggo("alice", GSRN, address=address, amount=7)
    assert (response.status_code, response.json) == (200, {"success": True})
    found = world.rows("SELECT amount, key_mismatch FROM ggos WHERE address = :a", a=address)
    assert found == [(7, False)]
    assert world.value("SELECT count(*) FROM webhook_deliveries") == 2
    assert _kept(world) == 0
    # A repeat finds the GGO, and announces nothing.
    assert world.ggo("alice", GSRN, address=address, amount=7).json == {"success": True}
    assert world.value("SELECT count(*) FROM webhook_deliveries") == 2


def test_a_ggo_whose_owner_changes_twice_is_left_for_the_next_webhook(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _rotated_behind_the_cache(world)
    world.rotate_key_after(monkeypatch, LOOK_UP, "alice", times=2)
    response = world.ggo("alice", GSRN, address=SECOND)
    assert response.status_code == 503
    assert response.json == {"success": False, "message": "The account has just changed"}
    assert "Retry-After" in response.headers
    assert world.value("SELECT count(*) FROM ggos") == 1
    assert world.value("SELECT count(*) FROM webhook_deliveries") == 1
    assert world.ggo("alice", GSRN, address=SECOND).json == {"success": True}
    assert world.value("SELECT count(*) FROM ggos") == 2
    assert world.value("SELECT count(*) FROM webhook_deliveries") == 2


def test_a_key_rotation_before_the_lock_loses_no_kept_ggo(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.new_user("alice")
    assert world.ggo("alice", GSRN).json == {"success": True}
    assert _kept(world) == 1
    find_owner = "origin.intake.service.events.find_owner"
    world.rotate_key_after(monkeypatch, find_owner, "alice", times=1)
    response = world.point("alice", GSRN)
    assert (response.status_code, response.json) == (200, {"success": True})
    assert _kept(world) == 0
    assert len(world.listed("alice")) == 1


def test_on_ggos_issued_is_an_alias(world: World) -> None:
    world.new_user("alice")
    world.point("alice", GSRN)
    body = {"sub": "alice", "ggo": ggo_of(GSRN)}
    assert world.webhook("on-ggos-issued", body).json == {"success": True}
    assert world.value("SELECT count(*) FROM ggos") == 1


def test_a_ggo_at_an_address_of_no_key_is_flagged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.new_user("alice")
    world.point("alice", GSRN)
    assert world.ggo("alice", GSRN, address=ADDRESS).json == {"success": True}
    assert world.value("SELECT key_mismatch FROM ggos") is True
    assert "our keys don't give" in caplog.text
    assert len(world.listed("alice")) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 0),
        ("amount", -1),
        ("amount", 1.5),
        ("amount", "1"),
        ("amount", True),
        ("amount", 2**63),
        ("amount", None),
        ("end", "2020-01-01T12:00:00Z"),
        ("end", "2020-01-01T11:59:59Z"),
        ("begin", "2038-01-19T03:14:08Z"),
        ("begin", "1969-12-31T23:59:59Z"),
        ("begin", "9999-12-31T23:59:59-10:00"),
        ("begin", "2020-01-01"),
        ("begin", 1577880000),
        ("technologyCode", None),
        ("technologyCode", ""),
        ("fuelCode", None),
        ("address", ""),
        ("address", "a\0"),
        ("address", None),
        ("gsrn", "x" * 501),
        ("emissions", {"CO2": "1"}),
        ("emissions", {"CO2": None}),
        ("emissions", {"CO2": True}),
        ("emissions", {"": 1}),
        ("emissions", {"C\0": 1}),
        ("emissions", [1]),
        ("expireTime", None),
        ("issueTime", "yesterday"),
        ("unknown", 1),
    ],
)
def test_wrong_ggos_are_rejected(world: World, field: str, value: object) -> None:
    world.new_user("alice")
    world.point("alice", GSRN)
    fields: dict[str, object] = {field: value}
    if field == "begin":
        fields["end"] = "2040-01-01T00:00:00Z"
    ggo = {**ggo_of(GSRN), **fields}
    response = world.webhook("on-ggo-issued", {"sub": "alice", "ggo": ggo})
    assert response.status_code == 400
    assert list(response.json["message"]["ggo"]) == [field]
    assert world.value("SELECT count(*) FROM ggos") == 0
    assert _kept(world) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 2**63 - 1),
        ("begin", "1970-01-01T00:00:00Z"),
        ("begin", "2020-01-01 12:00:00.123456"),
        ("begin", "2020-01-01T12:00:30+01:00"),
        ("emissions", None),
        ("emissions", {}),
        ("emissions", {"CO2": 0}),
        ("technologyCode", "T0"),
    ],
)
def test_unusual_ggos_are_stored(world: World, field: str, value: object) -> None:
    world.new_user("alice")
    world.point("alice", GSRN)
    for _ in range(2):
        assert world.ggo("alice", GSRN, **{field: value}).json == {"success": True}
    assert world.value("SELECT count(*) FROM ggos") == 1


def test_the_last_period_before_2038_is_stored(world: World) -> None:
    world.new_user("alice")
    world.point("alice", GSRN)
    times = {"begin": "2038-01-19T03:14:07Z", "end": "2038-01-19T04:00:00Z"}
    assert world.ggo("alice", GSRN, **times).json == {"success": True}


def test_a_contradicting_repeat_fails(world: World) -> None:
    world.new_user("alice")
    world.new_user("bob")
    world.point("alice", GSRN)
    world.point("bob", OTHER)
    world.ggo("alice", GSRN)
    for other in (
        world.ggo("alice", GSRN, amount=101),
        world.ggo("alice", GSRN, emissions=None),
        world.ggo("alice", GSRN, expireTime="2051-01-01T00:00:00Z"),
        world.ggo("bob", OTHER),
    ):
        assert (other.status_code, other.json) == (200, {"success": False})
    assert world.rows("SELECT amount FROM ggos") == [(100,)]


@pytest.mark.parametrize("is_known", [False, True])
def test_a_ggo_of_another_users_metering_point_is_rejected(world: World, is_known: bool) -> None:
    """Whether or not its address is known."""
    world.new_user("alice")
    world.new_user("bob")
    world.point("alice", GSRN)
    if is_known:
        world.ggo("alice", GSRN)
    response = world.ggo("bob", GSRN)
    assert response.status_code == 400
    assert response.json["message"] == {
        "ggo": {"gsrn": [f"MeteringPoint unavailable (GSRN: {GSRN})"]}
    }
    assert world.value("SELECT count(*) FROM ggos") == is_known


def test_events_of_an_unknown_subject_wait_for_its_login(world: World) -> None:
    for _ in range(2):
        assert world.point("alice", GSRN).json == {"success": False}
        assert world.ggo("alice", GSRN).json == {"success": False}
    assert world.point("alice", GSRN, sector="DK2").json == {"success": False}
    assert world.webhook("on-meteringpoints-available", {"sub": "alice"}).json == {"success": False}
    assert _kept(world) == 2
    world.new_user("bob")
    assert _kept(world) == 2
    world.new_user("alice")
    assert _kept(world) == 0
    assert len(world.listed("alice")) == 1
    # If two contradict each other, the later one counts.
    assert world.rows("SELECT sector FROM metering_points") == [("DK2",)]
    assert world.value("SELECT count(*) FROM datahub_jobs WHERE kind = 'send_key'") == 1


def test_the_latest_event_of_a_metering_point_counts(world: World) -> None:
    """In A, B, A the second A is not taken for a repeat of the first."""
    for sector in ("DK1", "DK2", "DK1"):
        world.point("alice", GSRN, sector=sector)
        world.point("alice", OTHER, sector=sector, type="consumption")
    world.new_user("alice")
    found = world.rows("SELECT gsrn, sector, key_index FROM metering_points ORDER BY key_index")
    assert found == [(GSRN, "DK1", 0), (OTHER, "DK1", 1)]


def test_ggo_waits_for_its_metering_point(world: World) -> None:
    world.new_user("alice")
    world.run_jobs()
    assert world.ggo("alice", GSRN).status_code == 200
    assert world.ggo("alice", GSRN, address=ADDRESS, amount=5).status_code == 200
    assert world.listed("alice") == []
    assert world.rows("SELECT kind FROM datahub_jobs") == [("import_metering_points",)]
    assert world.point("alice", GSRN).json == {"success": True}
    assert len(world.listed("alice")) == 2
    assert _kept(world) == 0


def test_ggo_comes_with_the_import_of_its_metering_point(world: World) -> None:
    world.new_user("alice")
    world.run_jobs()
    world.datahub.control(
        "meteringpoints",
        {"meteringpoints": [_registration("alice", GSRN)]},
    )
    assert world.ggo("alice", GSRN).status_code == 200
    world.run_jobs()
    assert len(world.listed("alice")) == 1
    assert _kept(world) == 0
    assert world.value("SELECT count(*) FROM datahub_jobs") == 0


def test_a_kept_ggo_that_breaks_a_rule_is_dropped(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.new_user("bob")
    world.point("bob", OTHER)
    world.ggo("bob", OTHER)
    world.ggo("alice", OTHER, address=ADDRESS)  # It is Bob's metering point.
    world.point("alice", GSRN)
    world.ggo("alice", GSRN)  # Bob's GGO has this address.
    world.point("alice", OTHER)
    world.new_user("alice")
    assert _kept(world) == 0
    assert world.listed("alice") == []
    assert len(world.listed("bob")) == 1
    assert "another user's" in caplog.text


def test_the_first_of_two_kept_ggos_at_one_address_counts(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if they were issued to different metering points."""
    world.point("alice", GSRN)
    world.point("alice", OTHER)
    world.ggo("alice", OTHER, amount=1)
    world.ggo("alice", GSRN, amount=2)
    world.new_user("alice")
    assert world.rows("SELECT issue_gsrn, amount FROM ggos") == [(OTHER, 1)]
    assert _kept(world) == 0
    assert "contradicts the stored one in: issue_gsrn, amount" in caplog.text


def test_many_kept_ggos_are_issued_in_portions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("origin.intake.service.early_events.APPLIED_AT_ONCE", 3)
    for number in range(10):
        world.ggo("alice", GSRN, address=f"849c0b{number:064}")
    world.point("alice", GSRN)
    world.new_user("alice")
    assert 0 < _kept(world) < 10
    world.run_jobs()
    assert _kept(world) == 0
    assert len(world.listed("alice")) == 10


def test_a_disabled_user_still_gets_what_is_issued(world: World) -> None:
    world.new_user("alice")
    world.post("/auth/disable-user", token=world.token("alice"))
    assert world.point("alice", GSRN).json == {"success": True}
    assert world.ggo("alice", GSRN).json == {"success": True}
    assert world.ggo("alice", OTHER, address=ADDRESS).status_code == 200
    assert world.webhook("on-meteringpoints-available", {"sub": "alice"}).json == {"success": True}
    assert world.value("SELECT count(*) FROM datahub_jobs") == 0


def test_identical_ggos_at_once(world: World) -> None:
    world.new_user("alice")
    world.point("alice", GSRN)
    responses = at_once(*[lambda: world.ggo("alice", GSRN)] * 6)
    assert [response.json for response in responses] == [{"success": True}] * 6
    assert world.value("SELECT count(*) FROM ggos") == 1


def test_identical_metering_points_at_once(world: World) -> None:
    world.new_user("alice")
    responses = at_once(*[lambda: world.point("alice", GSRN)] * 6)
    assert [response.json for response in responses] == [{"success": True}] * 6
    assert world.rows("SELECT key_index FROM metering_points") == [(0,)]
    assert world.value("SELECT next_metering_point_index FROM users") == 1


def test_two_users_claim_a_metering_point_at_once(world: World) -> None:
    world.new_user("alice")
    world.new_user("bob")
    calls = [lambda s=s: world.point(s, GSRN) for s in ("alice", "bob") * 3]
    outcomes = [response.json["success"] for response in at_once(*calls)]
    assert sorted(outcomes) == [False] * 3 + [True] * 3
    assert world.value("SELECT count(*) FROM metering_points") == 1


def test_metering_points_at_once_get_different_keys(world: World) -> None:
    world.new_user("alice")
    at_once(*[lambda n=n: world.point("alice", f"57131318040000{n:04}") for n in range(8)])
    assert sorted(world.rows("SELECT key_index FROM metering_points")) == [(n,) for n in range(8)]


def test_ggo_and_its_metering_point_at_once(world: World) -> None:
    world.new_user("alice")
    for number in range(5):
        gsrn, address = f"57131318040000{number:04}", f"849c0b{number:064}"
        at_once(
            lambda gsrn=gsrn: world.point("alice", gsrn),
            lambda gsrn=gsrn, address=address: world.ggo("alice", gsrn, address=address),
        )
    assert len(world.listed("alice")) == 5
    assert _kept(world) == 0


def test_events_and_first_login_at_once(world: World) -> None:
    for number in range(5):
        subject, gsrn = f"user-{number}", f"57131318040000{number:04}"
        client = world.client()
        path = world.consented(client, subject)
        at_once(
            lambda client=client, path=path: client.get(path),
            lambda subject=subject, gsrn=gsrn: world.point(subject, gsrn),
            lambda subject=subject, gsrn=gsrn, number=number: world.ggo(
                subject, gsrn, address=f"849c0b{number:064}"
            ),
        )
    assert world.value("SELECT count(*) FROM ggos") == 5
    assert _kept(world) == 0


def test_a_body_that_is_too_large_is_rejected(world: World) -> None:
    body = orjson.dumps({"sub": "x" * (1024 * 1024)})
    assert world.webhook("on-ggo-issued", body).status_code == 413


def test_a_number_beyond_64_bits_is_rejected(world: World) -> None:
    body = orjson.dumps({"sub": "alice", "ggo": ggo_of(GSRN, amount=12345)})
    response = world.webhook("on-ggo-issued", body.replace(b"12345", b"1" + b"0" * 30))
    assert response.status_code == 400
    too_large = "Must be less than or equal to 9223372036854775807."
    assert response.json["message"] == {"ggo": {"amount": [too_large]}}
