"""Makes rows of a market as an adoption of the original service's database leaves them."""

from dataclasses import dataclass

from origin.shared.deadlines import Deadline
from tests.support.market import Market


@dataclass(frozen=True)
class OriginalBatch:
    """The batch as the original service signed it. Its bytes are in no database."""

    id: str
    batch_list: bytes


def sign_as_original(market: Market, batch_id: int) -> OriginalBatch:
    """Sign a batch that the service has not posted, as the original service did; forget the bytes."""
    market.runtime.batch_signer.sign_missing([batch_id], Deadline(60))
    [row] = market.rows(
        "SELECT ledger_batch_id, signed_batch FROM batches WHERE id = :id", id=batch_id
    )
    market.rows(
        "UPDATE batches SET signed_batch = NULL, ledger_batch_id = NULL WHERE id = :id", id=batch_id
    )
    return OriginalBatch(row[0], bytes(row[1]))


def adopt_in_flight(market: Market, *, with_id: bool = True) -> OriginalBatch:
    """Make the one batch under way one that the original service signed, and that was adopted.

    The service has made the batch, and has not posted it.

    :param with_id: The original's handle had the batch's id. Else it knew of no POST.
    """
    [[number]] = market.rows("SELECT id FROM batches WHERE ended_at IS NULL")
    original = sign_as_original(market, number)
    market.rows(
        "UPDATE batches SET adopted_at = now(), state = :state, original_batch_id = :original, "
        "created_at = now() - interval '300 days' WHERE id = :id",
        original=original.id if with_id else None,
        state="SUBMITTED" if with_id else "PENDING",
        id=number,
    )
    return original


def adopt_ended(market: Market) -> None:
    """Make all batches that have ended ones of the original service: their bytes are not here."""
    market.rows(
        "UPDATE batches SET original_batch_id = ledger_batch_id, adopted_at = now(), "
        "undone = NULL, signed_batch = NULL, ledger_batch_id = NULL, posts = 0, "
        "answered_posts = 0, refused_posts = 0, unarrived_posts = 0 WHERE ended_at IS NOT NULL"
    )
    market.rows("DELETE FROM batch_events")
