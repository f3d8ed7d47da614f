"""The errors of the Sawtooth REST API: code, HTTP status, title and message."""

from typing import Any, NamedTuple


class SawtoothError(NamedTuple):
    """One row of `ERRORS`."""

    status: int
    title: str
    message: str


ERRORS = {
    10: SawtoothError(500, "Unknown Validator Error", "The validator failed in an unknown way."),
    15: SawtoothError(503, "Validator Not Ready", "The validator has no genesis block yet."),
    17: SawtoothError(503, "Validator Timed Out", "The validator did not answer in time."),
    18: SawtoothError(503, "Validator Disconnected", "The validator disconnected."),
    19: SawtoothError(408, "Validator Busy", "The message could not be sent to the validator."),
    20: SawtoothError(500, "Invalid Validator Response", "The validator's answer is unreadable."),
    21: SawtoothError(500, "Invalid Resource Header", "The resource has an unreadable header."),
    27: SawtoothError(500, "Unable to Fetch Statuses", "The statuses could not be fetched."),
    30: SawtoothError(400, "Submitted Batches Invalid", "The validator rejected the BatchList."),
    31: SawtoothError(429, "Unable to Accept Batches", "The validator's queue is full."),
    34: SawtoothError(400, "No Batches Submitted", "The BatchList holds no batch."),
    35: SawtoothError(400, "Protobuf Not Decodable", "The BatchList could not be read."),
    42: SawtoothError(400, "Wrong Content Type", "Batches come as application/octet-stream."),
    43: SawtoothError(400, "Wrong Content Type", "A list of ids comes as application/json."),
    46: SawtoothError(400, "Bad Status Request", "The body is a JSON list of at least one id."),
    60: SawtoothError(400, "Invalid Resource Id", "An id is 128 hexadecimal digits."),
    62: SawtoothError(400, "Invalid State Address", "An address is 70 hexadecimal digits."),
    66: SawtoothError(400, "Id Query Invalid", "The id query needs at least one id."),
    70: SawtoothError(404, "Block Not Found", "There is no such block."),
    71: SawtoothError(404, "Batch Not Found", "There is no such batch."),
    72: SawtoothError(404, "Transaction Not Found", "There is no such transaction."),
    75: SawtoothError(404, "State Not Found", "There is no state at this address."),
    80: SawtoothError(404, "Transaction Receipt Not Found", "There is no such receipt."),
}


class RefusedError(Exception):
    """The REST API answers with this code of `ERRORS`; `detail` is added to its message."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(detail or ERRORS[code].message)
        self.code = code
        self.detail = detail


def error_body(status: int, code: int | None, detail: str = "") -> tuple[int, Any]:
    """Return status and JSON of an error.

    Status 0 stands for the code's own status; code None for the first code with this status. An
    unknown code gets status 500 and the title of code 10.
    """
    if code is None:
        code = next((known for known, row in ERRORS.items() if row.status == status), 10)
    row = ERRORS.get(code, ERRORS[10])
    message = f"{row.message} {detail}".strip()
    return status or row.status, {
        "error": {"code": code, "title": row.title, "message": message},
    }
