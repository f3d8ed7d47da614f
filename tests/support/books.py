"""GGOs as plain rows, and plain computations of every answer about them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from psycopg2.extras import execute_values

from tests.support.world import World

USERS = ("alice", "bob", "carol")
GSRNS = {"production": ("p1", "p2"), "consumption": ("c1", "c2")}
LABELS = {("T1", "F1"): "Wind", ("T1", "F2"): "Wind", ("T2", "F1"): "Sun"}
"""Labels of pairs of codes; (T2, F2) has none."""
FORMATS = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d", "hour": "%Y-%m-%d %H:00"}

_NOW = datetime.now(UTC)


class Row(NamedTuple):
    """A GGO; `sender` is None for an issued one."""

    owner: str
    sender: str | None
    begin: datetime
    amount: int
    sector: str
    codes: tuple[str, str]
    state: str
    """stored, expired, retired or spent."""
    locked: bool
    gsrn: int
    """0 or 1: the production point it is issued to, and the consumption point it is retired to."""
    reference: str | None


def example_row(begin: datetime, amount: int = 1, **fields: Any) -> Row:
    """A stored GGO that was issued to alice; `fields` replace others of its fields."""
    return Row(
        **{
            "owner": "alice",
            "sender": None,
            "begin": begin,
            "amount": amount,
            "sector": "DK1",
            "codes": ("T1", "F1"),
            "state": "stored",
            "locked": False,
            "gsrn": 0,
            "reference": None,
            **fields,
        }
    )


class Books:
    """A service whose GGOs are exactly these rows. Answers come by HTTP or are computed by hand."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows: list[tuple[str, Row]] = []
        self.tokens = {subject: world.token(subject) for subject in USERS}

    def prepare(self) -> None:
        """Insert users, metering points and technologies."""
        for subject in USERS:
            self.world.rows("INSERT INTO users (subject, master_key) VALUES (:s, 'x')", s=subject)
        for kind, gsrns in GSRNS.items():
            for index, gsrn in enumerate(gsrns):
                self.world.rows(
                    "INSERT INTO metering_points (user_id, gsrn, type, sector, key_index) "
                    "SELECT id, :gsrn, :kind, 'DK1', :index FROM users WHERE subject = 'alice'",
                    gsrn=gsrn,
                    kind=kind,
                    index=index + 10 * (kind == "production"),
                )
        for (code, fuel), label in LABELS.items():
            self.world.rows(
                "INSERT INTO technologies VALUES (:code, :fuel, :label)",
                code=code,
                fuel=fuel,
                label=label,
            )

    def write(self, rows: Sequence[Row]) -> None:
        """Replace all GGOs by these. All parts of splits have one parent, which the user `nobody` owns."""
        self.rows = [(f"address {number}", row) for number, row in enumerate(rows)]
        self.world.rows("DELETE FROM ggos")
        ids = dict(self.world.rows("SELECT subject, id FROM users"))
        nobody = ids.setdefault("nobody", 0) or self._nobody()
        parent = _record(nobody, "parent", _PARENT, ids, None, 0)
        connection = self.world.runtime.database.engine.raw_connection()
        with connection.cursor() as cursor:
            statement = f"INSERT INTO ggos ({', '.join(_COLUMNS)}) VALUES %s RETURNING id"  # noqa: S608
            ((parent_id,),) = execute_values(cursor, statement, [parent], fetch=True)
            records = [
                _record(ids[row.owner], address, row, ids, parent_id, number)
                for number, (address, row) in enumerate(self.rows)
            ]
            execute_values(cursor, statement, records)
        connection.commit()
        connection.close()

    def _nobody(self) -> int:
        return int(
            self.world.value(
                "INSERT INTO users (subject, master_key) VALUES ('nobody', 'x') "
                "ON CONFLICT (subject) DO UPDATE SET master_key = 'x' RETURNING id"
            )
        )

    def ask(self, path: str, body: Any, subject: str = "alice") -> Any:
        """Return the answer, which must be a 200."""
        answer = self.world.post(path, body, self.tokens[subject])
        assert answer.status_code == 200, answer.text
        found = answer.get_json()
        assert found.pop("success") is True
        return found

    def rejection(self, path: str, body: Any) -> Any:
        """Return the answer's message; the status must be 400."""
        answer = self.world.post(path, body, self.tokens["alice"])
        assert answer.status_code == 400, answer.text
        return answer.json["message"]

    def own(self, subject: str, filters: dict[str, Any], zone: tzinfo = UTC) -> list[Row]:
        """Return the subject's GGOs that match."""
        return [row for row in self._matching(filters, zone) if row.owner == subject]

    def transfers(
        self, subject: str, filters: dict[str, Any], direction: str | None, zone: tzinfo = UTC
    ) -> list[Row]:
        """Return the GGOs that the subject received or sent."""
        ends = {"inbound": ("owner",), "outbound": ("sender",), None: ("owner", "sender")}
        return [
            row
            for row in self._matching(filters, zone)
            if row.sender not in {None, row.owner}
            and subject in {getattr(row, end) for end in ends[direction]}
        ]

    def _matching(self, filters: dict[str, Any], zone: tzinfo) -> Iterator[Row]:
        for address, row in self.rows:
            if all(_holds(name, wanted, address, row, zone) for name, wanted in filters.items()):
                yield row


def summary_by_hand(
    rows: Sequence[Row],
    resolution: str,
    grouping: Sequence[str],
    zone: tzinfo,
    filled: tuple[datetime, datetime] | None,
) -> dict[str, Any]:
    """Compute the answer of `/ggo/summary` as the contract defines it."""
    sums: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    labels = set() if resolution != "all" else {"All-time"}
    for row in rows:
        label = _label(row.begin, resolution, zone)
        labels.add(label)
        sums[tuple(_part(row, each, zone) for each in grouping)][label] += row.amount
    if filled is not None:
        moment, end = filled
        while moment <= end:
            labels.add(_label(moment, resolution, zone))
            moment += timedelta(minutes=15)
        labels.add(_label(end, resolution, zone))
    if resolution == "all" and not grouping and not sums:
        return {"labels": ["All-time"], "groups": [{"group": [], "values": [None]}]}
    ordered = sorted(labels)
    groups = [
        {"group": list(group), "values": [amounts.get(label) for label in ordered]}
        for group, amounts in sorted(sums.items())
    ]
    return {"labels": ordered, "groups": groups}


def zone_of(body: dict[str, Any]) -> tzinfo:
    """Return the zone of a request's local time."""
    if body.get("timezone"):
        return ZoneInfo(body["timezone"])
    return timezone(timedelta(hours=body.get("utcOffset") or 0))


def moment(text: str, zone: tzinfo) -> datetime:
    """Return a request's time in UTC."""
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)


def _label(begin: datetime, resolution: str, zone: tzinfo) -> str:
    if resolution == "all":
        return "All-time"
    return begin.astimezone(zone).strftime(FORMATS[resolution])


def _part(row: Row, grouping: str, zone: tzinfo) -> str:
    return {
        "begin": row.begin.astimezone(zone).isoformat(),
        "sector": row.sector,
        "technology": LABELS.get(row.codes, "Unknown"),
        "technologyCode": row.codes[0],
        "fuelCode": row.codes[1],
    }[grouping]


def _holds(name: str, wanted: Any, address: str, row: Row, zone: tzinfo) -> bool:
    if wanted in (None, []):
        return True
    if name == "begin":
        return row.begin == moment(wanted, zone)
    if name == "beginRange":
        return moment(wanted["begin"], zone) <= row.begin <= moment(wanted["end"], zone)
    if name == "category":
        return row.sender is None if wanted == "issued" else row.state == wanted
    retired = row.state == "retired"
    value = {
        "address": address,
        "sector": row.sector,
        "technologyCode": row.codes[0],
        "fuelCode": row.codes[1],
        "issueGsrn": None if row.sender else GSRNS["production"][row.gsrn],
        "retireGsrn": GSRNS["consumption"][row.gsrn] if retired else None,
        "retireAddress": f"measurement {row.gsrn}" if retired else None,
        "reference": row.reference if row.sender else None,
    }[name]
    return value in wanted


_PARENT = Row("nobody", None, _NOW, 1, "DK1", ("T1", "F1"), "spent", False, 0, None)  # noqa: FBT003
_COLUMNS = (
    *("owner_id", "address", "amount", "begin", '"end"', "sector", "technology_code", "fuel_code"),
    *("issue_time", "expire_time", "issue_gsrn", "parent_id", "split_position", "sender_id"),
    *("reference", "key_index", "stored", "retired", "locked", "retire_gsrn", "retire_address"),
)


def _record(
    owner_id: int, address: str, row: Row, ids: dict[str, int], parent_id: int | None, number: int
) -> tuple[Any, ...]:
    retired, issued = row.state == "retired", row.sender is None
    return (
        *(owner_id, address, row.amount, row.begin, row.begin + timedelta(minutes=15)),
        *(row.sector, *row.codes, row.begin),
        _NOW + timedelta(days=-1 if row.state == "expired" else 1),
        GSRNS["production"][row.gsrn] if issued else None,
        *(
            (None, None, None, None, None)
            if issued
            else (parent_id, number, ids[str(row.sender)], row.reference, number)
        ),
        *(row.state in {"stored", "expired"}, retired, row.locked),
        GSRNS["consumption"][row.gsrn] if retired else None,
        f"measurement {row.gsrn}" if retired else None,
    )
