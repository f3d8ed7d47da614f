"""Makes rows of a market as an adoption of the original service's database leaves them."""

from dataclasses import dataclass

from origin.shared.deadlines import Deadline
from tests.support.market import Market

_UNSIGNED = "signed_batch = NULL, ledger_batch_id = NULL, posts = 0, answered_posts = 0"


@dataclass(frozen=True)
class OriginalBatch:
    """The batch as the original service signed it. Its bytes are in no database."""

    id: str
    batch_list: bytes


def adopt_in_flight(market: Market, *, with_id: bool = True) -> OriginalBatch:
    """Make the one batch under way one that the original service signed, and that was adopted.

    The service has made the batch, and has not posted it.

    :param with_id: The original's handle had the batch's id. Else it knew of no POST.
    """
    [[number]] = market.rows("SELECT id FROM batches WHERE ended_at IS NULL")
    market.runtime.batch_signer.sign_missing([number], Deadline(60))
    [row] = market.rows(f"SELECT ledger_batch_id, signed_batch FROM batches WHERE id = {number}")  # noqa: S608 - ours
    market.rows(
        f"UPDATE batches SET {_UNSIGNED}, adopted_at = now(), state = :state, "  # noqa: S608 - ours
        "original_batch_id = :original, created_at = now() - interval '300 days' WHERE id = :id",
        original=row[0] if with_id else None,
        state="SUBMITTED" if with_id else "PENDING",
        id=number,
    )
    return OriginalBatch(row[0], bytes(row[1]))


def adopt_ended(market: Market) -> None:
    """Make all batches that have ended ones of the original service: their bytes are not here."""
    market.rows(
        "UPDATE batches SET original_batch_id = ledger_batch_id, adopted_at = now(), "
        "undone = NULL, signed_batch = NULL, ledger_batch_id = NULL, posts = 0, "
        "answered_posts = 0, refused_posts = 0, unarrived_posts = 0 WHERE ended_at IS NOT NULL"
    )
    market.rows("DELETE FROM batch_events")
