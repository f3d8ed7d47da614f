"""Adopts the database of the original service (doc/operations/adopting.md)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection as DriverConnection  # noqa: N812 - a class
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class
from sqlalchemy.engine import URL

from origin.adoption.queries import publishing, record, rejections, tables
from origin.adoption.queries.connections import (
    reason_of,
    source_connection,
    source_url,
    target_connection,
    transaction,
)
from origin.adoption.queries.record import PublishedAdoption
from origin.adoption.queries.source import ORIGINAL_HEAD, Source
from origin.adoption.queries.tables import SourceTable
from origin.adoption.rules import CannotAdopt, Rejection, Report, check_balance
from origin.adoption.service.early_rows import EarlyRows
from origin.adoption.service.key_check import KeyCheck
from origin.adoption.service.staging import ShowProgress, Staging
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.keys.sealing import Sealer
from origin.settings import Settings
from origin.shared.wakeups import Wakeups

ShowReport = Callable[[Report, Iterator[Rejection]], None]
"""Is told the report and the rejections, which can be read once."""


@dataclass(frozen=True)
class _Read:
    """What was found in the source: a fingerprint, rows by table, and the Wh of all GGOs."""

    name: str
    fingerprint: str
    counts: dict[SourceTable, int]
    energy_wh: int


@dataclass(frozen=True)
class AdoptionService:
    """Adopts an original database: once, as a whole, into an empty database of this service."""

    settings: Settings
    sealer: Sealer
    public_branch_keys: PublicBranchKeys
    early_rows: EarlyRows
    wakeups: Wakeups

    def adopt(
        self,
        source_uri: str | None,
        schema: str,
        show_progress: ShowProgress,
        show_report: ShowReport,
        *,
        is_dry: bool = False,
    ) -> PublishedAdoption | None:
        """Adopt a source, or continue where a killed run was.

        :param source_uri: The source's database; None: this service's own.
        :param schema: The schema of the source's tables.
        :param is_dry: Publish nothing: do everything in temporary tables, and roll it back.
        :returns: None if this call has published; the earlier adoption, if there is one. Then nothing
            was changed, except that its end was caught up with.
        :raises CannotAdopt: nothing was published; the text says why.
        """
        own_url = self.settings.database_url
        url = own_url if source_uri is None else source_url(source_uri)
        with _errors_named(), target_connection(own_url) as target:
            earlier = self._earlier(target)
            if earlier is None:
                with source_connection(url) as connection:
                    source = Source(connection, schema)
                    run = _Run(self, source, target, show_progress, is_dry=is_dry)
                    run.stage(_name(url, schema))
                    run.publish(show_report)
            if earlier is not None or not is_dry:
                self._show(target, show_report)
            if not is_dry:
                self._finish(target)
        return earlier

    def _earlier(self, target: DriverConnection) -> PublishedAdoption | None:
        """Return the adoption that was published.

        :raises CannotAdopt: there is none, and the database isn't one to adopt into.
        """
        with transaction(target) as cursor:
            earlier = record.last_adoption(cursor)
            if earlier is None:
                publishing.check_empty(cursor)
        return earlier

    def _show(self, target: DriverConnection, show_report: ShowReport) -> None:
        """Show the report of the published adoption."""
        with transaction(target) as cursor:
            adoption = record.last_adoption(cursor)
            assert adoption is not None
            show_report(adoption.report, record.kept_rejections(cursor, adoption.id))

    def _finish(self, target: DriverConnection) -> None:
        """Apply what came before the published adoption, unless that was done."""
        with transaction(target) as cursor:
            adoption = record.last_adoption(cursor)
            assert adoption is not None
            subjects = record.subjects_with_early_rows(cursor)
        if adoption.finished_at is not None:
            return
        for subject in subjects:
            self.early_rows.apply(subject)
        with transaction(target) as cursor:
            record.finish(cursor, adoption.id)
        self.wakeups.batches_due()
        self.wakeups.datahub_jobs_due()


@dataclass
class _Run:
    """One run, between the two databases."""

    service: AdoptionService
    source: Source
    target: DriverConnection
    show_progress: ShowProgress
    is_dry: bool

    def stage(self, name: str) -> None:
        """Copy the source into staging, and decide what can't be adopted."""
        self.source.check_tables()
        if head := self.source.other_head():
            words = f"Warning: the source's Alembic head is {head}, not {ORIGINAL_HEAD}"
            self.show_progress(words, 0, 1)
        self.show_progress("Reading the source as a whole", 0, 1)
        self.read = _Read(name, *self.source.fingerprint(), self.source.energy())
        self._open_staging()
        staging = Staging(self.source, self.target, self.service.sealer, self.show_progress)
        staging.copy_table(tables.USERS, self.read.counts[tables.USERS])
        with transaction(self.target) as cursor:
            rejections.create_views(cursor)
            rejections.reject_users(cursor)
        for table in tables.TABLES:
            staging.copy_table(table, self.read.counts[table])
        self.show_progress("Looking for rows that don't fit", 0, 1)
        with transaction(self.target) as cursor:
            tables.index_staging(cursor)
            rejections.reject_users(cursor)
            rejections.reject_others(cursor)
        KeyCheck(self.target, self.service.public_branch_keys, self.show_progress).run()

    def _open_staging(self) -> None:
        """Create staging, and empty it unless it holds rows of the same source, sealed as now."""
        layout = f"{tables.layout()} {self.service.sealer.current_prefix}"
        wanted = (self.read.name, f"{layout} {self.read.fingerprint}")
        with transaction(self.target) as cursor:
            tables.create_staging(cursor, is_dry=self.is_dry)
            staged = tables.staged_origin(cursor)
            if staged != wanted:
                tables.drop_staging(cursor)
                tables.create_staging(cursor, is_dry=self.is_dry)
                tables.record_origin(cursor, *wanted)
        if staged is not None:
            same = staged == wanted
            words = (
                "Continuing where the last run was"
                if same
                else "The source has changed: starting over"
            )
            self.show_progress(words, 0, 1)

    def publish(self, show_report: ShowReport) -> None:
        """Publish in one transaction, after the source was compared once more.

        :raises CannotAdopt: the source changed, or something doesn't add up.
        """
        self._check_unchanged()
        self.show_progress("Publishing", 0, 1)
        with transaction(self.target, keeps=not self.is_dry) as cursor:
            report = self._insert(cursor)
            if self.is_dry:
                show_report(report, record.new_rejections(cursor))
            else:
                record.record_publication(cursor, report)
                tables.drop_staging(cursor)
                publishing.advance_identities(cursor)
                publishing.analyze(cursor)

    def _check_unchanged(self) -> None:
        self.source.release()
        fingerprint, _ = self.source.fingerprint()
        self.source.release()
        if fingerprint != self.read.fingerprint:
            raise CannotAdopt(
                "The source changed while it was read: stop the original service, and run this again"
            )

    def _insert(self, cursor: Cursor) -> Report:
        """Insert the adoptable rows, and check that all adds up."""
        publishing.lock_target(cursor)
        publishing.check_empty(cursor)
        publishing.publish(cursor)
        report = record.make_report(
            cursor, self.read.name, self.read.counts, self.read.energy_wh, is_dry=self.is_dry
        )
        check_balance(report)
        return report


def _name(url: URL, schema: str) -> str:
    """Return what names a source in reports: no credentials."""
    return f"{url.host or 'localhost'}:{url.port or 5432}/{url.database}, schema {schema}"


@contextmanager
def _errors_named() -> Iterator[None]:
    """Turn errors of the driver into one line.

    :raises CannotAdopt: instead of them.
    """
    try:
        yield
    except psycopg2.Error as error:
        reason = f"This service's database: {reason_of(error)}. Run this again"
        raise CannotAdopt(reason) from error
