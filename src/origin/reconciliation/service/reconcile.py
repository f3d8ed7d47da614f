"""Compares the database with the ledger's state, a page at a time, and stores the differences.

A reconciliation run goes through the GGOs by id. Its cursor is in the database; the next process
continues from there. A run skips GGOs that are the source or a part of a batch under way, and those whose rows
changed while the ledger was asked. It writes nothing but differences, with one exception: a declined
batch that the ledger has after all is done again (`origin.batches.service.redo`). For repairs see
`origin.reconciliation.service.repair`.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from origin.batches.client.ledger import LedgerClient
from origin.batches.queries import differences
from origin.batches.queries.differences import GgoDifference
from origin.batches.queries.stuck import list_stuck
from origin.batches.rules.differences import Difference, DifferenceKind
from origin.batches.service.redo import BatchRedo
from origin.db.engine import Database
from origin.db.models import LedgerDifference, ReconciliationRun
from origin.errors import PeerError, PeerUnavailable
from origin.ggos.queries.by_id import count_ggos, next_ids
from origin.keys.sealing import Sealer
from origin.reconciliation import queries
from origin.reconciliation.queries import RunLease
from origin.reconciliation.service.comparison import PacedLedger, PageComparison
from origin.settings import Settings
from origin.shared.deadlines import Deadline

CALLS_PER_SECOND = 50.0
"""Calls of `/state` that a run makes at most, unless told otherwise."""
_PAGE = 50
_SHARE_S = 300.0
"""How long Beat's task continues a run; half of RECONCILE_INTERVAL, if that is longer."""

log = logging.getLogger(__name__)


class AlreadyRunning(PeerError):
    """Another process holds the reconciliation run."""

    def __init__(self) -> None:
        super().__init__("Reconciliation", "another run is under way; try again later")


@dataclass(frozen=True)
class Progress:
    """How far a run is: `done` GGOs of about `total`, and whether it is finished."""

    done: int
    total: int
    finished: bool = False


@dataclass
class _PageResult:
    """The comparison of a page.

    :ivar cursor: The last GGO that was compared.
    :ivar skipped: GGOs that were changing.
    :ivar error: Why the ledger can't be asked any more; None: it can.
    """

    cursor: int
    found: list[GgoDifference] = field(default_factory=list)
    skipped: set[int] = field(default_factory=set)
    error: PeerUnavailable | None = None


@dataclass(frozen=True)
class Reconciliation:
    """Compares the database with the ledger."""

    settings: Settings
    database: Database
    batch_redo: BatchRedo
    ledger: LedgerClient
    sealer: Sealer

    def continue_run(self) -> int:
        """Continue the run, or begin one, for Beat's share of the time.

        If the ledger is out of reach it ends early, with a warning.

        :returns: how many GGOs were compared.
        """
        if not self.settings.ledger_enabled:
            return 0
        deadline = Deadline(max(_SHARE_S, self.settings.reconcile_interval / 2))
        done = 0
        try:
            for progress in self.run():
                done = progress.done
                if deadline.is_over():
                    break
        except PeerError as error:
            log.warning("Reconciliation stops: %s", error, extra={"event": "reconcile.stopped"})
        return done

    def run(
        self, *, anew: bool = False, calls_per_second: float = CALLS_PER_SECOND
    ) -> Iterator[Progress]:
        """Continue the run under way, or begin one, to its end. The caller may stop at any time.

        :param anew: End the run under way, and begin one at the first GGO.
        :raises AlreadyRunning: another process holds the run.
        :raises PeerUnavailable: the ledger can't be asked now, or is switched off; the comparisons
            made so far are stored.
        """
        if not self.settings.ledger_enabled:
            raise PeerUnavailable("Ledger", "it is switched off (LEDGER_ENABLED=0)")
        with self.database.transaction() as session:
            lease = queries.claim_run(session, lease_s=self.settings.lease_seconds, anew=anew)
            if lease is None:
                raise AlreadyRunning
            total = count_ggos(session, lease.cursor)
        ledger = PacedLedger(self.ledger, calls_per_second)
        done = 0
        try:
            while True:
                with self.database.reading() as session:
                    ids = next_ids(session, lease.cursor, _PAGE)
                if not ids:
                    self._finish(lease)
                    yield Progress(done, max(done, total), finished=True)
                    return
                lease, compared = self._compare_page(lease, ids, ledger)
                if not compared:
                    # This process shuts down.
                    return
                done += compared
                yield Progress(done, max(done, total))
        finally:
            with self.database.transaction() as session:
                queries.save_progress(session, lease, cursor=lease.cursor, compared=0, lease_s=0)

    def _compare_page(
        self, lease: RunLease, ids: Sequence[int], ledger: PacedLedger
    ) -> tuple[RunLease, int]:
        """Compare as many of these GGOs as half a lease allows, and store what was found.

        :returns: the renewed lease, and how many GGOs were compared.
        :raises AlreadyRunning: another process has taken the run over; nothing was stored.
        """
        result = self._compare_ids(lease.cursor, ids, ledger)
        compared = sum(each <= result.cursor for each in ids)
        with self.database.transaction() as session:
            renewed = queries.save_progress(
                session,
                lease,
                cursor=result.cursor,
                compared=compared,
                lease_s=0 if result.error else self.settings.lease_seconds,
                error=str(result.error) if result.error else None,
            )
            if renewed is not None:
                differences.resolve_differences(
                    session, lease.cursor, result.cursor, kept=result.skipped, found=result.found
                )
                differences.store_differences(session, result.found)
        _log_differences(result.found)
        if result.error is not None:
            raise result.error
        if renewed is None:
            raise AlreadyRunning
        return renewed, compared

    def _compare_ids(self, cursor: int, ids: Sequence[int], ledger: PacedLedger) -> _PageResult:
        deadline = Deadline(self.settings.lease_seconds / 2)
        result = _PageResult(cursor)
        comparison = self._comparison(ids, ledger)
        for ggo_id in ids:
            if deadline.is_over():
                break
            try:
                found = comparison.compare(ggo_id)
            except PeerUnavailable as error:
                result.error = error
                break
            result.cursor = ggo_id
            if found is None:
                result.skipped.add(ggo_id)
            else:
                result.found += found
        return result

    def _finish(self, lease: RunLease) -> None:
        """Look for stuck batches, and finish the run."""
        with self.database.transaction() as session:
            found = [
                GgoDifference(
                    batch.ggo_id,
                    batch.address,
                    Difference(
                        DifferenceKind.STUCK_BATCH,
                        f"{batch.state} since {batch.since.isoformat()}",
                    ),
                    batch.id,
                )
                for batch in list_stuck(session, self.settings.batch_resubmit_after)
            ]
            differences.resolve_stuck_batches(session, found)
            # GGOs beyond the last one are gone, and their differences with them.
            differences.resolve_differences(session, lease.cursor, 2**63 - 1, kept=(), found=())
            differences.store_differences(session, found)
            queries.save_progress(
                session, lease, cursor=lease.cursor, compared=0, lease_s=0, finished=True
            )
        _log_differences(found)

    def _comparison(self, ids: Sequence[int], ledger: PacedLedger) -> PageComparison:
        return PageComparison(self.database, self.sealer, self.batch_redo, ledger, ids)

    def open_differences(self, *, never_sent: int | None = None) -> list[LedgerDifference]:
        """Return the known differences, as `queries.differences.open_differences`."""
        with self.database.reading() as session:
            return differences.open_differences(session, never_sent=never_sent)

    def list_differences(
        self, *, kind: str | None, after: int | None, limit: int | None
    ) -> list[LedgerDifference]:
        """Return the known differences, oldest first.

        :param kind: Only those of this kind; None: all.
        :param after: Only those after the one with this id; None: all.
        :param limit: At most so many; None: all.
        """
        with self.database.reading() as session:
            return differences.list_differences(session, kind=kind, beyond=after or 0, limit=limit)

    def count_never_sent(self) -> int:
        """Return how many GGOs are known that were never sent to the ledger."""
        with self.database.reading() as session:
            return differences.count_never_sent(session)

    def last_runs(self) -> list[ReconciliationRun]:
        """Return the latest runs, the newest first."""
        with self.database.reading() as session:
            return queries.last_runs(session)

    def compare_again(self, *, calls_per_second: float = CALLS_PER_SECOND) -> None:
        """Compare the GGOs that differ once more, and resolve the differences that are gone.

        Those of the kind `never_sent` never go, and are left out.

        :raises PeerUnavailable: the ledger can't be asked now.
        """
        ids = sorted({each.ggo_id for each in self.open_differences(never_sent=0)})
        comparison = self._comparison(ids, PacedLedger(self.ledger, calls_per_second))
        for ggo_id in ids:
            found = comparison.compare(ggo_id)
            if found is None:
                continue
            with self.database.transaction() as session:
                differences.resolve_differences(session, ggo_id - 1, ggo_id, kept=(), found=found)
                differences.store_differences(session, found)


def _log_differences(found: Sequence[GgoDifference]) -> None:
    for each in found:
        # Nothing ends this kind, and an adopted database may have a million.
        is_permanent = each.difference.kind is DifferenceKind.NEVER_SENT
        log.log(
            logging.INFO if is_permanent else logging.ERROR,
            "The database and the ledger differ: %s",
            each.difference.detail,
            extra={
                "event": "reconcile.difference",
                "kind": each.difference.kind.value,
                "ggo_id": each.ggo_id,
                "address": each.address,
                "batch_id": each.batch_id,
            },
        )
