"""What the fields of requests and answers mean, by name; where a schema says more, that holds.

For the document alone: see `origin.monitoring.views.openapi`.
"""

from typing import Any, NamedTuple


class Meaning(NamedTuple):
    """What a field means, with its unit, and a value that it may have (None: made of its parts)."""

    text: str
    example: Any = None


A_BEGIN = "2026-01-31T00:00:00+00:00"
_TIME = "ISO 8601; without an offset it is in the request's utcOffset, else UTC"
_PER_BEGIN = "by begin of the period"
_NAMES = {"CO2": 1.2}

MEANINGS: dict[str, Meaning] = {
    "account": Meaning("The account to give it to: its user's subject", "8d7b9c1e-bo"),
    "accounts": Meaning("The accounts of the caller"),
    "address": Meaning("A GGO's address on the ledger", "849c0b" + "5e" * 32),
    "amount": Meaning("Energy in Wh", 1000),
    "atTime": Meaning(f"{_TIME}; what covers this moment", "2026-01-31T12:00:00+00:00"),
    "begin": Meaning(f"When the period begins; {_TIME}", "2026-01-31T12:00:00+00:00"),
    "beginRange": Meaning("When the period begins, both ends included"),
    "buildingNumber": Meaning("Part of the metering point's address", "7"),
    "category": Meaning("What became of it; expired: still held, past its expiry", "stored"),
    "cityName": Meaning("Part of the metering point's address", "Kolding"),
    "code": Meaning("What Hydra hands out for a token"),
    "consumedAmount": Meaning(f"Consumption in Wh, {_PER_BEGIN}", {A_BEGIN: 900}),
    "created": Meaning("When it was received, in UTC", "2026-01-31T12:00:00+00:00"),
    "cursor": Meaning("Where this page begins"),
    "database": Meaning("Whether PostgreSQL answers: up or down", "up"),
    "dateRange": Meaning("UTC days, both included"),
    "direction": Meaning("Received (inbound), sent (outbound); absent: both", "outbound"),
    "emissions": Meaning("By name of the emission", _NAMES),
    "emissionsPerWh": Meaning(f"g/Wh, {_PER_BEGIN}", {A_BEGIN: _NAMES}),
    "end": Meaning(f"When the period ends; {_TIME}", "2026-01-31T13:00:00+00:00"),
    "error": Meaning("Why Hydra gives no code"),
    "expireTime": Meaning(f"When it can no longer be used; {_TIME}", "2027-01-31T13:00:00+00:00"),
    "fill": Meaning("A label for each period, also where there is nothing", example=False),
    "filters": Meaning("Combined by AND; an empty list is no filter"),
    "forecast": Meaning("Energy expected, in Wh, period by period", [1000, 1200]),
    "forecasts": Meaning("Forecasts, the newest first"),
    "fuelCode": Meaning("AIB fact sheet 5", "F01050100"),
    "general": Meaning("Of all consumption in the same sectors: the residual mix"),
    "ggo": Meaning("The GGO that was issued"),
    "group": Meaning("The group's values, in the order of grouping", ["DK1"]),
    "grouping": Meaning("What to group by, in this order", ["sector"]),
    "groups": Meaning("The groups, sorted by their values"),
    "gsrn": Meaning("The number of a metering point (GS1)", "571313180400000012"),
    "id": Meaning("What it is named by", "8d7b9c1e-anna"),
    "individual": Meaning("Of the caller's consumption"),
    "issueGsrn": Meaning("The production metering point it was issued to", "571313180400000012"),
    "issueTime": Meaning(f"When it was issued; {_TIME}", "2026-02-01T00:00:00+00:00"),
    "labels": Meaning("The periods, in local time", ["2026-01-31"]),
    "limit": Meaning("How many at most; 0: all", 20),
    "message": Meaning("Why not: a sentence, or messages by field"),
    "meteringpoint": Meaning("The metering point"),
    "minAmount": Meaning("Wh in each period", 1000),
    "minCoverage": Meaning("Share of the periods, 0 to 1", 0.8),
    "municipalityCode": Meaning("Part of the metering point's address", "621"),
    "nextCursor": Meaning("Where the next page begins"),
    "offset": Meaning("How many to skip", 0),
    "order": Meaning("What to sort by; - for descending", ["-begin"]),
    "postCode": Meaning("Part of the metering point's address", "6000"),
    "recipient": Meaning("The account that is to receive it: its user's subject", "8d7b9c1e-bo"),
    "redis": Meaning("Whether Redis answers: up or down", "up"),
    "reference": Meaning("What the sender calls it", "contract 7"),
    "received": Meaning("References of forecasts that were received", ["contract 7"]),
    "resolution": Meaning("The length of a period", "day"),
    "results": Meaning("What matches"),
    "retireAddress": Meaning("The ledger's address of a measurement", "5a9839" + "7a" * 32),
    "retiredAmount": Meaning(f"Retired to it, in Wh, {_PER_BEGIN}", {A_BEGIN: 900}),
    "retireGsrn": Meaning("The consumption metering point it is retired to", "571313180400000029"),
    "retires": Meaning("What is retired to the caller's own consumption"),
    "returnUrl": Meaning("Where the login leads back to", "https://app.example/done"),
    "secret": Meaning("What deliveries are signed with (HMAC-SHA256)", "a long random text"),
    "sector": Meaning("The price area", "DK1"),
    "sender": Meaning("The account that sends it: its user's subject", "8d7b9c1e-anna"),
    "sent": Meaning("References of forecasts that were sent", ["contract 7"]),
    "state": Meaning("What ties the answer to the login that was begun"),
    "streetCode": Meaning("Part of the metering point's address", "0042"),
    "streetName": Meaning("Part of the metering point's address", "Vestergade"),
    "sub": Meaning("The user's subject", "8d7b9c1e-anna"),
    "success": Meaning("Whether it was done", example=True),
    "suppliers": Meaning("Accounts that could supply, the best first", ["8d7b9c1e-bo"]),
    "technologies": Meaning(f"Wh by technology, {_PER_BEGIN}", {A_BEGIN: {"Wind": 900}}),
    "technology": Meaning("The label of technology and fuel code", "Wind"),
    "technologyCode": Meaning("AIB fact sheet 5", "T020001"),
    "timezone": Meaning("IANA name, instead of utcOffset", "Europe/Copenhagen"),
    "total": Meaning("How many match in all", 1),
    "totalConsumedAmount": Meaning("Consumption in Wh", 900),
    "totalEmissions": Meaning("g by name of the emission", _NAMES),
    "totalEmissionsPerWh": Meaning("g/Wh by name of the emission", _NAMES),
    "totalRetiredAmount": Meaning("Retired to it, in Wh", 900),
    "totalTechnologies": Meaning("Wh by technology", {"Wind": 900}),
    "transfers": Meaning("What is given to other accounts"),
    "type": Meaning("production or consumption", "production"),
    "url": Meaning("Where deliveries are posted to: http or https", "https://app.example/hook"),
    "utcOffset": Meaning("Whole hours ahead of UTC", 1),
    "values": Meaning("Wh for each label; null: nothing there", [1000]),
}  # fmt: skip

EXAMPLES: dict[str, Any] = {
    "DateRange": {"begin": "2026-01-01", "end": "2026-01-31"},
    "GgoFilters": {
        "beginRange": {"begin": "2026-01-31T00:00:00+01:00", "end": "2026-01-31T23:00:00+01:00"},
        "category": "stored",
    },
    "TransferFilters": {"reference": ["contract 7"]},
    "GgoListRequest": {"filters": {"category": "stored"}, "offset": 0, "limit": 20},
    "DoneResponse": {"success": True, "message": None},
}
"""Examples of schemas whose fields' examples don't go together, by the schema's name."""

NOT_IN_EVERY_ANSWER = frozenset({"nextCursor", "ledger", "recovery"})
"""Fields that only some answers have; all others are in each."""
