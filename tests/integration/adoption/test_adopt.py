"""What becomes of each row of an original database."""

from datetime import UTC, datetime, timedelta
from hashlib import md5
from uuid import UUID

from origin.keys.sealing import (
    access_token_context,
    early_webhook_secret_context,
    master_key_context,
    refresh_token_context,
    webhook_secret_context,
)
from tests.support.adopting import adopt, rejections, run, uri_of, write
from tests.support.database import rows
from tests.support.original_database import BEGIN, STATUS_LINK, OriginalDatabase
from tests.support.world import World

HOOK = "https://receiver.example/hook"


def small_history() -> OriginalDatabase:
    """Anna issues and trades with Bert; her GGOs, in order, are in all states."""
    original = OriginalDatabase()
    anna, bert = original.user("anna"), original.user("bert", disabled=True)
    mill, home = original.point(anna, "production"), original.point(anna, "consumption")
    issued = [original.issue(mill, BEGIN + timedelta(hours=hour), 1000) for hour in range(7)]
    parts = original.compose(issued[0], [(400, bert)], [(500, home)])
    original.compose(parts[1], retires=[(100, home)])
    original.compose(issued[1], [(10, bert), (20, anna)], state="SUBMITTED")
    original.compose(issued[2], retires=[(1000, home)], state="PENDING")
    original.compose(issued[3], [(300, bert)], handle=None)
    original.compose(issued[4], state="DECLINED")
    issued[5].update(emissions=None, expire_time=BEGIN)
    original.technology("Wind", "T020001", "F01050100")
    original.forecast(anna, bert, [10, 0, 2**31 - 1], resolution=900)
    original.subscription("anna", HOOK)
    original.subscription("bert", HOOK)
    original.subscription("nobody yet", HOOK, event="ON_FORECAST_RECEIVED")
    return original


def test_every_row_arrives_as_it_was(world: World):
    original = small_history()
    write(world, original)
    report = adopt(world)
    assert report["rejections"] == []
    for table, kind in (("ggo_ggo", "GGO"), ("auth_user", "user"), ("ledger_batch", "batch")):
        count = len(original.rows[table])
        assert report["kinds"][kind] == {"source": count, "adopted": count, "rejected": 0}
    _check_accounts(world, original)
    _check_ggos(world, original)
    _check_batches(world)
    _check_the_rest(world, original)


def _check_accounts(world: World, original: OriginalDatabase) -> None:
    sealer = world.runtime.sealer
    anna, bert = world.rows("SELECT * FROM users ORDER BY id")
    source = original.rows["auth_user"]
    assert (anna.id, anna.subject, anna.created_at) == (1, "anna", BEGIN)
    assert anna.last_login_at == BEGIN + timedelta(hours=1)
    assert anna.token_expires_at == BEGIN + timedelta(days=1)
    for user, row in ((anna, source[0]), (bert, source[1])):
        opened = sealer.open(user.master_key, master_key_context(user.subject))
        assert opened == row["master_extended_key"]
    for sealed, context in (
        (anna.access_token, access_token_context("anna")),
        (anna.refresh_token, refresh_token_context("anna")),
    ):
        assert sealer.open(sealed, context).endswith("token of anna")
    assert (bert.access_token, bert.refresh_token, bert.token_expires_at) == (None, None, None)
    assert bert.disabled_at is not None
    assert (anna.next_metering_point_index, bert.next_metering_point_index) == (2, 0)
    assert (anna.next_trade_index, bert.next_trade_index) == (5, 3)
    points = world.rows("SELECT user_id, gsrn, type, sector, key_index FROM metering_points")
    assert [tuple(point) for point in points] == [
        (1, "570000000000000001", "production", "DK1", 0),
        (1, "570000000000000002", "consumption", "DK1", 1),
    ]
    # The original service has sent the keys.
    assert world.value("SELECT count(*) FROM metering_points WHERE key_sent_at IS NULL") == 0
    assert world.value("SELECT count(*) FROM datahub_jobs") == 0


def _check_ggos(world: World, original: OriginalDatabase) -> None:
    same = (
        'id, parent_id, address, key_index, issue_time, expire_time, begin, "end", amount, sector, '
        "technology_code, fuel_code, stored, retired, locked, issue_gsrn, retire_gsrn, "
        "retire_address, emissions"
    )
    found = world.rows(
        f"SELECT owner_id AS user_id, issue_gsrn IS NOT NULL AS issued, "  # noqa: S608
        f"NOT locked AS synchronized, {same} FROM ggos ORDER BY id"
    )
    assert [dict(ggo._mapping) for ggo in found] == original.rows["ggo_ggo"]
    assert world.value("SELECT count(*) FROM ggos WHERE key_mismatch") == 0
    parts = world.rows(
        "SELECT split_position, sender_id, owner_id, reference, amount FROM ggos "
        "WHERE parent_id = 1 ORDER BY split_position"
    )
    assert [tuple(part) for part in parts] == [
        (0, 1, 2, "reference 400", 400),
        (1, 1, 1, None, 100),
        (2, 1, 1, None, 500),
    ]
    unsent = world.rows("SELECT amount FROM ggos WHERE never_sent ORDER BY amount")
    assert [ggo.amount for ggo in unsent] == [300, 700, 1000]


def _check_batches(world: World) -> None:
    batches = world.rows(
        "SELECT id, state, ggo_id, never_sent, original_batch_id IS NOT NULL AS was_sent, "
        "adopted_at = (SELECT published_at FROM adoptions), next_attempt_at IS NOT NULL AS is_due "
        "FROM batches ORDER BY id"
    )
    assert [tuple(batch) for batch in batches] == [
        (1, "COMPLETED", 1, False, True, True, False),
        (2, "COMPLETED", 9, False, True, True, False),
        (3, "SUBMITTED", 2, False, True, True, True),
        (4, "PENDING", 3, False, False, True, True),
        (5, "COMPLETED", 4, True, False, True, False),
        (6, "DECLINED", 5, False, True, True, False),
    ]
    operations = world.rows(
        "SELECT batch_id, position, type, ggo_id FROM transactions ORDER BY 1, 2"
    )
    assert [tuple(each) for each in operations] == [
        (1, 0, "split", 1),
        (1, 1, "retire", 10),
        (2, 0, "retire", 9),
        (3, 0, "split", 2),
        (4, 0, "retire", 3),
        (5, 0, "split", 4),
    ]


def _check_the_rest(world: World, original: OriginalDatabase) -> None:
    assert world.rows("SELECT technology_code, fuel_code, technology FROM technologies") == [
        ("T020001", "F01050100", "Wind")
    ]
    forecast = world.rows("SELECT * FROM forecasts")[0]
    source = original.rows["forecast_forecast"][0]
    assert str(forecast.public_id) == source["public_id"]
    assert (forecast.sender_id, forecast.recipient_id, forecast.resolution) == (1, 2, "PT15M")
    assert (forecast.begin, forecast.end) == (source["begin"], source["end"])
    assert forecast.amounts == [10, 0, 2**31 - 1]
    live, ended = world.rows("SELECT * FROM webhook_subscriptions ORDER BY id")
    assert (live.user_id, live.url, live.host) == (1, HOOK, "receiver.example:443")
    sealer = world.runtime.sealer
    context = webhook_secret_context(1, "ON_GGO_RECEIVED", HOOK)
    assert sealer.open(live.secret, context) == "secret"
    # Bert is disabled.
    assert (ended.user_id, ended.secret, ended.end_reason) == (2, None, "the account is disabled")
    (early,) = world.rows("SELECT * FROM early_subscriptions")
    context = early_webhook_secret_context("nobody yet", "ON_FORECAST_RECEIVED", HOOK)
    assert (early.subject, sealer.open(early.secret, context)) == ("nobody yet", "secret")


def test_new_rows_get_ids_after_the_adopted_ones(world: World):
    write(world, small_history())
    adopt(world)
    for table in ("users", "metering_points", "ggos", "batches", "transactions", "forecasts"):
        last = world.value(f"SELECT max(id) FROM {table}")  # noqa: S608
        sequence = f"SELECT nextval(pg_get_serial_sequence('{table}', 'id'))"
        assert world.value(sequence) == last + 1


def test_times_without_zone_are_utc(world: World):
    original = small_history()
    original.rows["ggo_ggo"][0]["begin"] = datetime(2020, 3, 29, 2, 30)  # noqa: DTZ001
    original.rows["ggo_ggo"][0]["end"] = datetime(2020, 3, 29, 3, 30)  # noqa: DTZ001
    write(world, original, constraints=False, naive=True)
    # The role's own time zone doesn't matter.
    world.rows("ALTER ROLE CURRENT_USER SET TimeZone = 'Europe/Copenhagen'")
    try:
        adopt(world)
    finally:
        world.rows("ALTER ROLE CURRENT_USER RESET TimeZone")
    begin = world.value("SELECT begin FROM ggos WHERE id = 1")
    assert begin == datetime(2020, 3, 29, 2, 30, tzinfo=UTC)
    assert world.value("SELECT begin FROM ggos WHERE id = 2") == BEGIN + timedelta(hours=1)


def test_emissions_may_be_json_null_or_have_such_values(world: World):
    original = OriginalDatabase()
    mill = original.point(original.user("anna"), "production")
    for hour in range(4):
        original.issue(mill, BEGIN + timedelta(hours=hour), 1000)
    ggos = original.rows["ggo_ggo"]
    ggos[1]["emissions"], ggos[2]["emissions"] = None, {"CO2": 1.5, "CH4": None}
    write(world, original)
    rows(uri_of(world), "UPDATE original.ggo_ggo SET emissions = 'null' WHERE id = 4")
    adopt(world)
    found = [row.emissions for row in world.rows("SELECT emissions FROM ggos ORDER BY id")]
    assert found == [{"CO2": 0.5}, None, {"CO2": 1.5}, None]


def test_amounts_at_the_edge(world: World):
    original = OriginalDatabase()
    mill = original.point(original.user("anna"), "production")
    amounts = [1, 2**31, 2**63 - 1, 0, -1, None, 2**63, "1.5", "NaN", 2**63 - 1]
    for hour, amount in enumerate(amounts):
        original.issue(mill, BEGIN + timedelta(hours=hour), amount)
    write(world, original, constraints=False)
    report = adopt(world, status=1)
    found = [row.amount for row in world.rows("SELECT amount FROM ggos ORDER BY id")]
    assert found == [1, 2**31, 2**63 - 1, 2**63 - 1]
    assert rejections(report) == {
        ("GGO", 4): "Its amount is not above 0 Wh",
        ("GGO", 5): "Its amount is not above 0 Wh",
        ("GGO", 6): "It has no amount",
        ("GGO", 7): "Its amount is above 2^63 - 1 Wh",
        ("GGO", 8): "Its amount is not a whole number of Wh",
        ("GGO", 9): "Its amount is above 2^63 - 1 Wh",
    }
    rejected = -1 + 2**63 + 1
    adopted = 1 + 2**31 + 2 * (2**63 - 1)
    assert report["energy"] == {
        "source": adopted + rejected,
        "adopted": adopted,
        "rejected": rejected,
    }


def test_a_point_without_type_gets_the_one_that_its_ggos_show(world: World):
    original = OriginalDatabase()
    anna = original.user("anna")
    mill, home, other = (original.point(anna, None) for _ in range(3))
    ggo = original.issue(mill, BEGIN, 1000)
    original.compose(ggo, retires=[(1000, home)])
    write(world, original)
    adopt(world)
    types = [row.type for row in world.rows("SELECT type FROM metering_points ORDER BY id")]
    # Nothing shows the last one's: DataHub is asked.
    assert types == ["production", "consumption", "consumption"]
    assert world.rows("SELECT user_id, kind FROM datahub_jobs") == [(1, "import_metering_points")]
    assert other["key_index"] == 2


def test_key_indexes_are_never_used_again(world: World):
    original = small_history()
    sequences = original.rows["ggo_ggo_index_sequence"]
    # Anna's sequence is behind what her GGOs use; Bert's is gone.
    sequences[0]["index"] = 1
    del sequences[1]
    original.rows["accounts_meteringpoint_index_sequence"][0]["index"] = 41
    # An index that only a rejected GGO uses counts as well.
    original.rows["ggo_ggo"].append(
        {
            **original.rows["ggo_ggo"][7],
            "id": 99,
            "address": "another",
            "amount": -1,
            "key_index": 77,
        }
    )
    write(world, original, constraints=False)
    adopt(world, status=1)
    found = world.rows("SELECT next_metering_point_index, next_trade_index FROM users ORDER BY id")
    assert [tuple(row) for row in found] == [(42, 5), (0, 78)]


def test_texts_arrive_letter_by_letter(world: World):
    odd = "tab\t line\n back\\slash \\N \\. 'quote' \"double\" {brace} Æ€😀"
    original = OriginalDatabase()
    user, other = original.user(odd), original.user("\\N")
    user["access_token"] = odd
    mill = original.point(user, "production", gsrn=odd, sector=odd)
    ggo = original.issue(mill, BEGIN, 10, technology_code=odd)
    original.compose(ggo, [(4, other)])
    original.rows["ledger_split_target"][0]["reference"] = odd
    original.forecast(user, other, [1], reference=odd)
    original.subscription(odd, HOOK, odd)
    write(world, original)
    adopt(world)
    subjects = [row.subject for row in world.rows("SELECT subject FROM users ORDER BY id")]
    assert subjects == [odd, "\\N"]
    sealer = world.runtime.sealer
    sealed = world.value("SELECT access_token FROM users WHERE id = 1")
    assert sealer.open(sealed, access_token_context(odd)) == odd
    point = world.rows("SELECT gsrn, sector FROM metering_points")[0]
    assert (point.gsrn, point.sector) == (odd, odd)
    assert world.value("SELECT technology_code FROM ggos WHERE id = 1") == odd
    assert world.value("SELECT reference FROM ggos WHERE amount = 4") == odd
    assert world.value("SELECT reference FROM forecasts") == odd
    secret = world.value("SELECT secret FROM webhook_subscriptions")
    assert sealer.open(secret, webhook_secret_context(1, "ON_GGO_RECEIVED", HOOK)) == odd


def test_technologies_that_are_here_stay(world: World):
    world.rows("INSERT INTO technologies VALUES ('T020001', 'F01050100', 'Ours')")
    original = small_history()
    original.technology("Solar", "T010000", "F01040100")
    write(world, original)
    adopt(world)
    found = world.rows("SELECT technology FROM technologies ORDER BY technology")
    assert [row.technology for row in found] == ["Ours", "Solar"]


def test_a_public_id_that_is_no_uuid_becomes_a_stable_one(world: World):
    original = OriginalDatabase()
    anna, bert = original.user("anna"), original.user("bert")
    for public_id, resolution in (("forecast 7", 3600), ("A" * 32, 86400), ("x", 61)):
        original.forecast(anna, bert, [1], public_id=public_id, resolution=resolution)
    write(world, original)
    report = adopt(world)
    found = world.rows("SELECT public_id::text, resolution FROM forecasts ORDER BY id")
    assert [row.resolution for row in found] == ["PT1H", "P1D", "PT61S"]
    digits = md5(b"forecast:forecast 7").hexdigest()  # noqa: S324 - no secret
    assert UUID(found[0].public_id) == UUID(f"{digits[:12]}3{digits[13:16]}8{digits[17:]}")
    assert found[1].public_id == "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"
    assert report["notes"]["forecasts whose public id was no UUID"] == 2


def test_addresses_that_our_keys_do_not_give_are_marked(world: World):
    original = small_history()
    ggos = original.rows["ggo_ggo"]
    ggos[6]["address"] = "849c0b" + "00" * 32
    ggos[7]["address"] = "849c0b" + "11" * 32
    # Issued to a metering point that moved to another user, and to a period without keys.
    bert = original.rows["auth_user"][1]
    mill = original.point(bert, "production")
    original.issue(mill, BEGIN, 5)["user_id"] = 1
    ggos[5].update(begin=datetime(2040, 1, 1, tzinfo=UTC), end=datetime(2040, 1, 2, tzinfo=UTC))
    write(world, original, constraints=False)
    report = adopt(world)
    marked = world.rows("SELECT id FROM ggos WHERE key_mismatch ORDER BY id")
    assert [row.id for row in marked] == [6, 7, 8, ggos[-1]["id"]]
    assert report["notes"]["GGOs at an address that our keys don't give"] == 4


def test_the_ledgers_id_of_a_batch_comes_from_its_handle(world: World):
    original = OriginalDatabase()
    mill = original.point(original.user("anna"), "production")
    handles = {
        f"{STATUS_LINK}ab12": "ab12",
        "/batch_statuses?wait=1&id=CD34&x=1": "CD34",
        "ef56": "ef56",
        "http://ledger.example/elsewhere": None,
        "/batch_statuses?id=": None,
    }
    for hour, handle in enumerate(handles):
        ggo = original.issue(mill, BEGIN + timedelta(hours=hour), 10)
        original.compose(ggo, [(5, {"id": 1})], handle=handle, state="SUBMITTED")
    write(world, original, constraints=False)
    adopt(world)
    found = world.rows("SELECT original_batch_id FROM batches ORDER BY id")
    assert [row.original_batch_id for row in found] == list(handles.values())


def test_a_text_report_names_all_of_it(world: World):
    original = small_history()
    original.rows["auth_user"][1]["master_extended_key"] = "xprv nonsense"
    write(world, original, constraints=False)
    text = run(world, "--schema", "original", "--dry-run", status=1)
    assert "A dry run: nothing was changed." in text
    assert "user 2: Its master key is not an extended private key (Base58 xprv)" in text
    assert "\nGGO 1: The parts hold 600 of 1000 Wh\n" in text
    text = run(world, "--schema", "original", status=1)
    assert "flask users resubscribe --all" in text
    assert "xprv nonsense" not in text
