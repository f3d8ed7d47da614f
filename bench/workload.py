"""The requests to the service, and the fastest plain SQL that we know for the same answers."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from bench.dataset import BIG, HOURLY, HOURLY_YEAR, YEARS

PAGE = """
SELECT json_agg(ggo)::text FROM (
    SELECT address, sector, begin, "end", amount,
        (SELECT technology FROM technologies t WHERE t.technology_code = g.technology_code
            AND t.fuel_code = g.fuel_code) AS technology,
        technology_code AS "technologyCode", fuel_code AS "fuelCode", emissions,
        issue_gsrn AS "issueGsrn"
    FROM ggos g WHERE owner_id = %(owner)s AND begin BETWEEN %(begin)s AND %(end)s AND NOT locked
    ORDER BY begin, id LIMIT 100) AS ggo
"""
YEAR = PAGE.replace("LIMIT 100", "")
COUNT = """
SELECT count(*) FROM ggos
WHERE owner_id = %(owner)s AND begin BETWEEN %(begin)s AND %(end)s AND NOT locked
"""
DAY_BY_TECHNOLOGY = """
SELECT to_char(day, 'YYYY-MM-DD'), coalesce(t.technology, 'Unknown'), sum(amount) FROM (
    SELECT date_trunc('day', begin AT TIME ZONE 'Europe/Copenhagen') AS day, technology_code,
        fuel_code, sum(amount) AS amount
    FROM ggos WHERE owner_id = %(owner)s AND begin BETWEEN %(begin)s AND %(end)s GROUP BY 1, 2, 3
) AS days LEFT JOIN technologies t USING (technology_code, fuel_code)
GROUP BY 1, 2 ORDER BY 2, 1
"""
MONTHS = """
SELECT to_char(date_trunc('month', begin AT TIME ZONE 'Europe/Copenhagen'), 'YYYY-MM') AS month,
    sum(amount)
FROM (SELECT begin, sum(amount) AS amount FROM ggos WHERE owner_id = %(owner)s GROUP BY begin)
    AS hours
GROUP BY 1 ORDER BY 1
"""
MONTHS_BY_SECTOR_AND_TECHNOLOGY = """
SELECT to_char(month, 'YYYY-MM'), sector, coalesce(t.technology, 'Unknown'), sum(amount) FROM (
    SELECT date_trunc('month', begin AT TIME ZONE 'Europe/Copenhagen') AS month, sector,
        technology_code, fuel_code, sum(amount) AS amount
    FROM (
        SELECT begin, sector, technology_code, fuel_code, sum(amount) AS amount
        FROM ggos WHERE owner_id = %(owner)s GROUP BY 1, 2, 3, 4
    ) AS hours GROUP BY 1, 2, 3, 4
) AS months LEFT JOIN technologies t USING (technology_code, fuel_code)
GROUP BY 1, 2, 3 ORDER BY 2, 3, 1
"""
TRANSFERRED_MONTHS = """
SELECT to_char(date_trunc('month', begin AT TIME ZONE 'Europe/Copenhagen'), 'YYYY-MM') AS month,
    sum(amount)
FROM (
    SELECT begin, sum(amount) AS amount FROM (
        SELECT begin, amount FROM ggos WHERE owner_id = %(owner)s AND sender_id <> owner_id
        UNION ALL
        SELECT begin, amount FROM ggos WHERE sender_id = %(owner)s AND sender_id <> owner_id
    ) AS transfers GROUP BY begin
) AS hours
GROUP BY 1 ORDER BY 1
"""
HOUR = """
SELECT sum(amount) FROM ggos
WHERE owner_id = %(owner)s AND begin = %(at)s AND stored AND expire_time > now()
"""
STORED = """
SELECT sum(amount) FROM ggos WHERE owner_id = %(owner)s AND stored AND expire_time > now()
"""
BALANCE = """
SELECT sum(amount) FILTER (WHERE stored AND expire_time > now() AND NOT key_mismatch AND NOT never_sent
        AND (NOT locked OR sender_id = owner_id)),
    sum(amount) FILTER (WHERE locked AND sender_id <> owner_id),
    sum(amount) FILTER (WHERE retired AND locked), sum(amount) FILTER (WHERE retired AND NOT locked),
    sum(amount) FILTER (WHERE stored AND expire_time <= now()),
    sum(amount) FILTER (WHERE spent_elsewhere
        OR (stored AND (key_mismatch OR never_sent) AND expire_time > now())),
    sum(amount) FILTER (WHERE issue_gsrn IS NOT NULL),
    sum(amount) FILTER (WHERE sender_id <> owner_id AND NOT locked),
    (SELECT json_build_array(sum(amount) FILTER (WHERE locked), sum(amount) FILTER (WHERE NOT locked))
        FROM ggos WHERE sender_id = %(owner)s AND owner_id <> sender_id)
FROM ggos WHERE owner_id = %(owner)s
"""
"""All amounts of an account's balance now, as long as nothing was rolled back."""

PLAIN = {
    "days": DAY_BY_TECHNOLOGY,
    "months": MONTHS_BY_SECTOR_AND_TECHNOLOGY,
    "transfers": TRANSFERRED_MONTHS,
    "hour": HOUR,
    "stored": STORED,
}
"""The statements of sums, by the names in the limit app's paths."""

INSERT_ISSUED = """
INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
    emissions, issue_time, expire_time, issue_gsrn, stored)
SELECT id, %(address)s, %(amount)s, %(begin)s, %(end)s, %(sector)s, %(technologyCode)s,
    %(fuelCode)s, %(emissions)s, %(issueTime)s, %(expireTime)s, %(gsrn)s, true
FROM users WHERE subject = %(sub)s
ON CONFLICT (address) DO NOTHING
"""
LOCK_SOURCE = """
SELECT id, owner_id, amount FROM ggos
WHERE address = %(address)s AND stored AND NOT locked AND expire_time > now() FOR UPDATE
"""
SPLIT_SOURCE = "UPDATE ggos SET stored = false, locked = true WHERE id = %(source)s"
# The limit app assigns no key indexes; these are beyond all that the data has.
INSERT_PARTS = """
INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
    emissions, issue_time, expire_time, parent_id, split_position, sender_id, reference, key_index,
    stored, locked)
SELECT part.owner_id, part.address, part.amount, begin, "end", sector, technology_code, fuel_code,
    emissions, issue_time, expire_time, id, part.position, %(owner)s, 'bench',
    1000000000 + 2 * id + part.position, true, true
FROM ggos, (VALUES
    ((SELECT id FROM users WHERE subject = %(to)s), %(first)s, %(sent)s, 0),
    (%(owner)s, %(second)s, %(kept)s, 1)
) AS part (owner_id, address, amount, position)
WHERE id = %(source)s
"""
INSERT_BATCH = "INSERT INTO batches (user_id, ggo_id) VALUES (%(owner)s, %(source)s)"


@dataclass(frozen=True)
class PostRequest:
    """A POST of a JSON body."""

    path: str
    body: dict[str, Any]

    def as_http(self, token: str) -> bytes:
        """Return the bytes of the HTTP request, for a kept connection."""
        return post(self.path, orjson.dumps(self.body), f"Authorization: Bearer {token}")


def get(path: str, token: str) -> bytes:
    """Return the bytes of a GET, for a kept connection."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def post(path: str, body: bytes, header: str) -> bytes:
    """Return the bytes of a POST with this body and one more header."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\n{header}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def year_range(year: int) -> dict[str, str]:
    """All hours of a year, in UTC."""
    return {"begin": f"{year}-01-01T00:00:00Z", "end": f"{year}-12-31T23:00:00Z"}


def year_ends(year: int) -> dict[str, datetime]:
    """The same for SQL."""
    return {
        "begin": datetime(year, 1, 1, tzinfo=UTC),
        "end": datetime(year, 12, 31, 23, tzinfo=UTC),
    }


def pages() -> list[PostRequest]:
    """The first page of each year."""
    return [
        PostRequest(
            "/ggo", {"filters": {"beginRange": year_range(year)}, "offset": 0, "limit": 100}
        )
        for year in YEARS
    ]


def hourly_pages() -> list[PostRequest]:
    """Return pages of the account `hourly`, which is the same in every database."""
    filters = {"beginRange": year_range(HOURLY_YEAR)}
    return [
        PostRequest("/ggo", {"filters": filters, "offset": offset, "limit": 100})
        for offset in range(0, 1000, 100)
    ]


def hour_totals() -> list[PostRequest]:
    """Return totals of single hours of the account `hourly`."""
    return [
        PostRequest(
            "/ggo/get-total-amount",
            {"filters": {"begin": f"{HOURLY_YEAR}-06-01T{hour:02d}:00:00Z", "category": "stored"}},
        )
        for hour in range(24)
    ]


DAY_SUMMARY = PostRequest(
    "/ggo/summary",
    {
        "resolution": "day",
        "grouping": ["technology"],
        "timezone": "Europe/Copenhagen",
        "filters": {"beginRange": year_range(HOURLY_YEAR)},
    },
)
MONTH_SUMMARY = PostRequest(
    "/ggo/summary", {"resolution": "month", "timezone": "Europe/Copenhagen", "filters": {}}
)
STORED_TOTAL = PostRequest("/ggo/get-total-amount", {"filters": {"category": "stored"}})


@dataclass(frozen=True)
class SumTarget:
    """A sum, and the largest ratio of its time to the plain SQL's."""

    name: str
    subject: str
    owner: int
    request: PostRequest
    sql: str
    values: dict[str, Any]
    bound: float


SUMS = (
    SumTarget(
        name="summary: day by technology, 8,760 GGOs",
        subject=HOURLY,
        owner=2,
        request=DAY_SUMMARY,
        sql=DAY_BY_TECHNOLOGY,
        values=year_ends(HOURLY_YEAR),
        bound=2,
    ),
    SumTarget(
        name="summary: months of ten years, a fifth of all GGOs",
        subject=BIG,
        owner=1,
        request=MONTH_SUMMARY,
        sql=MONTHS,
        values={},
        bound=1.5,
    ),
    SumTarget(
        name="total: stored, a fifth of all GGOs",
        subject=BIG,
        owner=1,
        request=STORED_TOTAL,
        sql=STORED,
        values={},
        bound=1.5,
    ),
)


def compose(address: str, account: str) -> PostRequest:
    """Return a compose that sends one Wh of a GGO and keeps the rest."""
    transfer = {"amount": 1, "account": account, "reference": "bench"}
    return PostRequest("/ggo/compose", {"address": address, "transfers": [transfer], "retires": []})
