"""The tables. Energy is in Wh; times are aware and in UTC.

Rules about a single row are CHECK constraints. Uniqueness is an index.
"""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_CODES = ("sector", "technology_code", "fuel_code")
"""The columns by which GGOs are grouped and filtered."""


def _sealed_by(table: str, *columns: str) -> tuple[Index, ...]:
    """Return indexes that find the secrets by which these columns are sealed (`origin.keys.sealing`)."""
    return tuple(
        Index(f"ix_{table}_{column}_sealed_by", text(f'"left"({column}, 12)')) for column in columns
    )


class Base(DeclarativeBase):
    """Base of all tables: names of constraints, and the SQL types of Python types."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        bytes: LargeBinary,
        UUID: Uuid(),
        list[int]: ARRAY(BigInteger),
    }


class Identified:
    """A row with a surrogate key."""

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)


class Queued:
    """A row that is its own queue entry (see `origin.intake.queries.job_queue`)."""

    next_attempt_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
    """When work on it is due. A claim moves this forward by one lease. NULL: nothing to do."""
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    """Claims since the last progress."""


class User(Identified, Base):
    """An account: the subject of tokens, and the owner of keys, metering points and GGOs."""

    __tablename__ = "users"
    __table_args__ = _sealed_by("users", "master_key", "access_token", "refresh_token")

    subject: Mapped[str] = mapped_column(unique=True)
    master_key: Mapped[str]
    """Base58 extended private key `m`, sealed."""
    access_token: Mapped[str | None]
    """Sealed; NULL when disabled."""
    refresh_token: Mapped[str | None]
    """Sealed; NULL when disabled or never granted."""
    token_expires_at: Mapped[datetime | None]
    tokens_refused_at: Mapped[datetime | None]
    """When Hydra rejected a refresh for good; the next login clears it."""
    refreshing_until: Mapped[datetime | None]
    """The lease of the process that refreshes the tokens ends then."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_login_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    next_metering_point_index: Mapped[int] = mapped_column(server_default="0")
    """The next i of `m/1/i`."""
    next_trade_index: Mapped[int] = mapped_column(server_default="0")
    """The next k of `m/0/k`; a k is never reused."""
    history_from: Mapped[datetime | None]
    """When the account was adopted, or last recovered: its entries begin with what it held then. NULL:
    its history is complete."""


class LoginState(Base):
    """A login in progress. It is valid once, for one hour, in one browser (contract: http-api, Accounts and login)."""

    __tablename__ = "login_states"

    state_hash: Mapped[str] = mapped_column(primary_key=True)
    browser_hash: Mapped[str]
    """Hash of the cookie that binds the state to the browser."""
    return_url: Mapped[str]
    nonce: Mapped[str]
    code_verifier: Mapped[str]
    """PKCE (RFC 7636), sealed."""
    expires_at: Mapped[datetime] = mapped_column(index=True)


class MeteringPoint(Identified, Base):
    """A user's metering point. GGOs are issued to production points and retired to consumption points."""

    __tablename__ = "metering_points"
    __table_args__ = (
        UniqueConstraint("user_id", "key_index"),
        CheckConstraint("type IN ('production', 'consumption')", name="type"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    gsrn: Mapped[str] = mapped_column(unique=True)
    type: Mapped[str]
    sector: Mapped[str]
    key_index: Mapped[int]
    """The i of `m/1/i`."""
    key_sent_at: Mapped[datetime | None]
    """When DataHub confirmed the key."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DataHubJob(Identified, Queued, Base):
    """A call to DataHub that is still to be made for a user; deleted when done."""

    __tablename__ = "datahub_jobs"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('send_key', 'subscribe_metering_points', 'subscribe_ggos', "
            "'import_metering_points', 'fetch_ggos')",
            name="kind",
        ),
        CheckConstraint(
            "(kind IN ('send_key', 'fetch_ggos')) = (metering_point_id IS NOT NULL)",
            name="subject",
        ),
        UniqueConstraint(
            "user_id", "kind", "metering_point_id", postgresql_nulls_not_distinct=True
        ),
        Index("ix_datahub_jobs_due", "next_attempt_at"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str]
    metering_point_id: Mapped[int | None] = mapped_column(ForeignKey("metering_points.id"))
    fetched_until: Mapped[datetime | None]
    """Of `fetch_ggos`: GGOs that begin earlier are stored already."""
    fetch_hours: Mapped[int | None] = mapped_column(Integer)
    """Of `fetch_ggos`: hours that one call may cover, if DataHub was too slow for more."""
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class EarlyEvent(Identified, Base):
    """An event from DataHub that can't be applied yet: its user or metering point is unknown."""

    __tablename__ = "kept_events"
    __table_args__ = (
        CheckConstraint("kind IN ('metering_point', 'ggo')", name="kind"),
        Index("ix_kept_events_subject", "subject", "kind"),
        Index("ix_kept_events_gsrn", "gsrn"),
    )

    kind: Mapped[str]
    subject: Mapped[str]
    gsrn: Mapped[str]
    payload: Mapped[dict[str, Any]]
    """The event as received, without the subject."""
    digest: Mapped[str] = mapped_column(unique=True)
    """Hash of kind, subject and payload. Equal events are stored once."""
    received_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class Technology(Base):
    """The label of a pair of technology and fuel code (AIB fact sheet 5), from DataHub."""

    __tablename__ = "technologies"

    technology_code: Mapped[str] = mapped_column(primary_key=True)
    fuel_code: Mapped[str] = mapped_column(primary_key=True)
    technology: Mapped[str]


class Ggo(Identified, Base):
    """A GGO of one owner, and its state (contract: domain, GGO).

    The contract's `synchronized` is `NOT locked`.
    """

    __tablename__ = "ggos"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint('"end" > begin', name="period"),
        CheckConstraint("NOT (stored AND retired)", name="stored_or_retired"),
        CheckConstraint(
            "NOT spent_elsewhere OR (locked AND NOT stored AND NOT retired)",
            name="spent_elsewhere",
        ),
        CheckConstraint(
            "retired = (retire_gsrn IS NOT NULL) AND retired = (retire_address IS NOT NULL)",
            name="retired_to",
        ),
        CheckConstraint(
            "(issue_gsrn IS NOT NULL) = (key_index IS NULL) "
            "AND (parent_id IS NOT NULL) = (key_index IS NOT NULL) "
            "AND (parent_id IS NOT NULL) = (sender_id IS NOT NULL) "
            "AND (parent_id IS NOT NULL) = (split_position IS NOT NULL)",
            name="issued_or_split",
        ),
        Index(
            "uq_ggos_owner_id_key_index",
            "owner_id",
            "key_index",
            unique=True,
            postgresql_where=text("key_index IS NOT NULL"),
        ),
        Index(
            "uq_ggos_parent_id_split_position",
            "parent_id",
            "split_position",
            unique=True,
            postgresql_where=text("parent_id IS NOT NULL"),
        ),
        # Queries about an account's GGOs read only these indexes (see `origin.ggos.queries.ggos`):
        # all that it ever owned, stored, issued, retired.
        Index(
            "ix_ggos_owner_begin",
            "owner_id",
            "begin",
            "id",
            postgresql_include=["amount", "locked", *_CODES],
        ),
        Index(
            "ix_ggos_owner_stored",
            "owner_id",
            "begin",
            "id",
            postgresql_where=text("stored"),
            postgresql_include=["amount", "locked", "expire_time", *_CODES],
        ),
        Index(
            "ix_ggos_owner_issued",
            "owner_id",
            "begin",
            "id",
            postgresql_where=text("issue_gsrn IS NOT NULL"),
            postgresql_include=["amount", "locked", "issue_gsrn", *_CODES],
        ),
        Index(
            "ix_ggos_owner_retired",
            "owner_id",
            "begin",
            "id",
            postgresql_where=text("retired"),
            postgresql_include=["amount", "locked", "retire_gsrn", *_CODES],
        ),
        Index(
            "ix_ggos_owner_amount",
            "owner_id",
            "amount",
            "begin",
            "id",
            postgresql_include=["locked"],
        ),
        Index(
            "ix_ggos_retire_address",
            "retire_address",
            postgresql_where=text("retired"),
            postgresql_include=["amount"],
        ),
        Index(
            "ix_ggos_stored_begin",
            "begin",
            "owner_id",
            postgresql_where=text("stored"),
            postgresql_include=["amount", "expire_time"],
        ),
        # Transfers by sender and by recipient.
        Index(
            "ix_ggos_sender_begin",
            "sender_id",
            "begin",
            postgresql_where=text("sender_id <> owner_id"),
            postgresql_include=["amount", *_CODES],
        ),
        Index(
            "ix_ggos_recipient_begin",
            "owner_id",
            "begin",
            postgresql_where=text("sender_id <> owner_id"),
            postgresql_include=["amount", *_CODES],
        ),
        Index("ix_ggos_key_mismatch", "created_at", postgresql_where=text("key_mismatch")),
        # An account's entries in the order of their times (see `origin.balances`). Queries must repeat
        # `< 'infinity'`. It keeps these narrow indexes away from sums, which would read the rows too.
        Index(
            "ix_ggos_owner_known",
            "owner_id",
            "created_at",
            "id",
            postgresql_where=text("issue_gsrn IS NOT NULL AND created_at < 'infinity'"),
        ),
        Index(
            "ix_ggos_owner_received",
            "owner_id",
            "settled_at",
            "id",
            postgresql_where=text("sender_id <> owner_id AND settled_at IS NOT NULL"),
        ),
        Index(
            "ix_ggos_owner_expiry",
            "owner_id",
            "expire_time",
            "id",
            postgresql_where=text("stored AND expire_time < 'infinity'"),
        ),
        # What the back-fill of times has still to do.
        Index(
            "ix_ggos_without_times",
            "id",
            postgresql_where=text(
                "NOT locked AND ((parent_id IS NOT NULL AND settled_at IS NULL) "
                "OR (NOT stored AND spent_at IS NULL) OR (retired AND retired_at IS NULL))"
            ),
        ),
    )

    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    address: Mapped[str] = mapped_column(unique=True)
    amount: Mapped[int]
    """Wh."""
    begin: Mapped[datetime]
    end: Mapped[datetime]
    sector: Mapped[str]
    technology_code: Mapped[str]
    fuel_code: Mapped[str]
    emissions: Mapped[dict[str, Any] | None]
    """g/Wh by name of the emission."""
    issue_time: Mapped[datetime]
    expire_time: Mapped[datetime]
    issue_gsrn: Mapped[str | None] = mapped_column(ForeignKey("metering_points.gsrn"))
    """The production metering point that it was issued to; NULL for a GGO from a split."""
    key_mismatch: Mapped[bool] = mapped_column(server_default=text("false"))
    """Issued to an address that our keys don't derive, so the ledger would refuse to spend it."""
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("ggos.id"))
    """The GGO that it was split from."""
    split_position: Mapped[int | None] = mapped_column(Integer)
    """Its position among the targets of that split, from 0."""
    sender_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    """The owner of the GGO that it was split from. If this GGO has another owner, it is a transfer."""
    reference: Mapped[str | None]
    """The sender's reference of the transfer."""
    key_index: Mapped[int | None]
    """The k of `m/0/k`; NULL for an issued GGO, whose key is `m/1/i/t`."""
    stored: Mapped[bool]
    retired: Mapped[bool] = mapped_column(server_default=text("false"))
    locked: Mapped[bool] = mapped_column(server_default=text("false"))
    """A transfer or retire is in progress, or the GGO was spent elsewhere."""
    spent_elsewhere: Mapped[bool] = mapped_column(server_default=text("false"))
    """Another party's operation spent it on the ledger. It is blocked until that is resolved."""
    never_sent: Mapped[bool] = mapped_column(server_default=text("false"))
    """This GGO is the source or a part of a batch that was never sent to the ledger."""
    retire_gsrn: Mapped[str | None] = mapped_column(ForeignKey("metering_points.gsrn"))
    retire_address: Mapped[str | None]
    """The ledger address of the measurement that it is retired to."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When it was stored here; of a part, when the batch that makes it was accepted."""
    settled_at: Mapped[datetime | None]
    """When the batch that made this part was completed; NULL: it has not ended, or the GGO was issued."""
    spent_at: Mapped[datetime | None]
    """When the batch that splits or retires it was accepted; of a part that is retired, `created_at`."""
    retired_at: Mapped[datetime | None]
    """When the batch that retires it was completed."""


class Batch(Identified, Queued, Base):
    """The ledger batch of one compose (contract: domain, Batch).

    PENDING → SUBMITTED → COMPLETED or DECLINED. Its children are the GGOs whose parent is `ggo_id`.
    """

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint("state IN ('PENDING', 'SUBMITTED', 'COMPLETED', 'DECLINED')", name="state"),
        CheckConstraint(
            "(state IN ('COMPLETED', 'DECLINED')) = (ended_at IS NOT NULL) "
            "AND (ended_at IS NULL) = (next_attempt_at IS NOT NULL)",
            name="ended",
        ),
        CheckConstraint(
            "(signed_batch IS NULL) = (ledger_batch_id IS NULL) "
            "AND (signed_batch IS NOT NULL OR posts = 0)",
            name="signed",
        ),
        CheckConstraint(
            "NOT never_sent OR (state = 'COMPLETED' AND signed_batch IS NULL)", name="never_sent"
        ),
        CheckConstraint("original_batch_id IS NULL OR adopted_at IS NOT NULL", name="adopted"),
        CheckConstraint("refused_posts <= posts", name="refused_posts"),
        CheckConstraint("refused_posts + unarrived_posts <= posts", name="unarrived_posts"),
        CheckConstraint("answered_posts <= posts", name="answered_posts"),
        Index(
            "uq_batches_live_ggo_id",
            "ggo_id",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index("ix_batches_ggo_id", "ggo_id"),
        Index("ix_batches_operation", "operation_id", "sequence"),
        Index("ix_batches_without_operation", "id", postgresql_where=text("operation_id IS NULL")),
        # An account's entries in the order of their times (see `origin.balances`).
        Index("ix_batches_user_created", "user_id", "created_at", "id"),
        Index(
            "ix_batches_user_completed",
            "user_id",
            "ended_at",
            "id",
            postgresql_where=text("state = 'COMPLETED'"),
        ),
        Index("ix_batches_declined", "ended_at", postgresql_where=text("state = 'DECLINED'")),
        Index(
            "ix_batches_due",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    ggo_id: Mapped[int] = mapped_column(ForeignKey("ggos.id"))
    """The source GGO, which it splits or retires whole."""
    state: Mapped[str] = mapped_column(server_default="PENDING")
    ledger_batch_id: Mapped[str | None] = mapped_column(unique=True)
    """The signed batch's header signature; stored before the first POST."""
    signed_batch: Mapped[bytes | None]
    """The BatchList. Each POST sends the same bytes."""
    posts: Mapped[int] = mapped_column(Integer, server_default="0")
    """POSTs begun; counted before each, so that a crash can't hide one."""
    refused_posts: Mapped[int] = mapped_column(Integer, server_default="0")
    """POSTs that the ledger answered with a permanent refusal."""
    unarrived_posts: Mapped[int] = mapped_column(Integer, server_default="0")
    """POSTs that certainly did not reach the ledger's queue."""
    answered_posts: Mapped[int] = mapped_column(Integer, server_default="0")
    """POSTs that are certainly no longer in transit."""
    last_post_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When the latest POST was begun."""
    last_error: Mapped[str | None]
    """The ledger's last error; the reason of a declined batch."""
    never_sent: Mapped[bool] = mapped_column(server_default=text("false"))
    """Completed while the ledger was switched off, here or by the original service."""
    original_batch_id: Mapped[str | None]
    """The ledger's id of the batch that the original service posted; its bytes are not here."""
    adopted_at: Mapped[datetime | None]
    """When the batch was adopted from the original service's database; NULL: it was composed here."""
    undone: Mapped[dict[str, Any] | None]
    """The rows that a rollback deleted (see `origin.batches.queries.outcomes`), for reconciliation."""
    operation_id: Mapped[UUID | None] = mapped_column(ForeignKey("operations.id"))
    """The order that it belongs to. NULL: a version before migration 0016 wrote it, and workers have not
    made its operation yet."""
    sequence: Mapped[int | None] = mapped_column(Integer)
    """Its place among the batches of its operation, from 0."""
    moved: Mapped[int | None]
    """Wh that it transfers or retires, without the remainder. It never changes."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When its compose or its plan was accepted."""
    submitted_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class Operation(Queued, Base):
    """An order that moves GGOs (contract: v2, Operations), written in the transaction that accepts it.

    Queued until `accepted_at` (it is planned, and has batches) or `ended_at` (it is refused or
    cancelled, and has none). What becomes of a planned one follows from its batches.
    """

    __tablename__ = "operations"
    __table_args__ = (
        CheckConstraint("kind IN ('compose', 'transfer', 'retirement')", name="kind"),
        CheckConstraint("origin IN ('legacy', 'api')", name="origin"),
        CheckConstraint("accepted_at IS NULL OR ended_at IS NULL", name="accepted_or_ended"),
        CheckConstraint(
            "(accepted_at IS NULL AND ended_at IS NULL) = (next_attempt_at IS NOT NULL)",
            name="queued",
        ),
        CheckConstraint("refusal IS NULL OR ended_at IS NOT NULL", name="refusal"),
        Index("ix_operations_user_created", "user_id", "created_at", "id"),
        Index(
            "ix_operations_key",
            "user_id",
            "idempotency_key",
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        Index(
            "uq_operations_api_key",
            "user_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("origin = 'api'"),
        ),
        Index(
            "ix_operations_due",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """Version 7, of `created_at`."""
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str]
    origin: Mapped[str]
    """`legacy`: a compose of the old API; `api`: version 2."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    accepted_at: Mapped[datetime | None]
    """When it was planned: its batches were written in the same transaction."""
    client: Mapped[str | None]
    """The client id of the token."""
    idempotency_key: Mapped[str | None]
    request: Mapped[Any | None] = mapped_column(JSON)
    """The body as it was sent; NULL: unknown."""
    request_hash: Mapped[str | None]
    """SHA-256 of the body's bytes, if it has an Idempotency-Key."""
    requested: Mapped[int | None]
    """Wh, as of `totals.requested`; NULL until it is known."""
    refusal: Mapped[dict[str, Any] | None]
    """`code` and `detail`, if planning found it impossible. Without them, an ended one was cancelled."""
    ended_at: Mapped[datetime | None]
    """When it was refused or cancelled."""
    next_attempt_at: Mapped[datetime | None] = mapped_column()
    """When planning is due. A claim moves this forward by one lease. NULL: nothing to plan."""
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    last_error: Mapped[str | None]
    """Why planning was put off last."""


class Rollback(Identified, Base):
    """A batch's rollback: what it moved back, for balances and entries of the past.

    `origin.batches.queries.outcomes` writes it. A batch that is done again keeps its row.
    """

    __tablename__ = "rollbacks"
    __table_args__ = (
        Index("ix_rollbacks_user_accepted", "user_id", "accepted_at"),
        Index("ix_rollbacks_batch_id", "batch_id"),
        Index("ix_rollbacks_ggo_id", "ggo_id"),
        # What was on its way to an account.
        Index(
            "ix_rollbacks_undone",
            "undone",
            postgresql_using="gin",
            postgresql_ops={"undone": "jsonb_path_ops"},
        ),
    )

    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    ggo_id: Mapped[int] = mapped_column(ForeignKey("ggos.id"))
    """The batch's source."""
    accepted_at: Mapped[datetime]
    declined_at: Mapped[datetime]
    undone: Mapped[dict[str, Any]]
    """As of `Batch.undone`; its parts have their ids besides, if this version wrote it."""
    blocked: Mapped[bool] = mapped_column(server_default=text("false"))
    """The source was spent elsewhere: the rollback blocked it."""
    unblocked_at: Mapped[datetime | None]
    """When the source's block ended."""
    redone_at: Mapped[datetime | None]
    """When the batch was done again."""


class BatchEvent(Identified, Base):
    """An entry of a batch's history, for operators only; no code depends on it."""

    __tablename__ = "batch_events"
    __table_args__ = (
        Index("ix_batch_events_batch_id", "batch_id"),
        Index("ix_batch_events_at", "at"),
    )

    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    event: Mapped[str]
    detail: Mapped[str]


class Transaction(Identified, Base):
    """One operation of a batch, in the order in which the ledger applies them."""

    __tablename__ = "transactions"
    __table_args__ = (
        CheckConstraint("type IN ('split', 'retire')", name="type"),
        UniqueConstraint("batch_id", "position"),
    )

    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    position: Mapped[int] = mapped_column(Integer)
    type: Mapped[str]
    ggo_id: Mapped[int] = mapped_column(ForeignKey("ggos.id"), unique=True)
    """The GGO that it spends. Unique, so a GGO is spent at most once."""


class IdempotencyKey(Base):
    """The response to a compose that had an Idempotency-Key (contract: http-api, compose)."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    holder: Mapped[str]
    """Token of the request that works on it. Another request may take over when the lease ends."""
    lease_until: Mapped[datetime]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    """HTTP status of the response; NULL while the request runs."""
    response: Mapped[dict[str, Any] | None]
    operation_id: Mapped[UUID | None]
    """The operation of the response, if it made one."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class ReconciliationRun(Identified, Base):
    """A reconciliation run: compares all GGOs with the ledger, in slices. At most one is unfinished."""

    __tablename__ = "ledger_walks"
    __table_args__ = (
        Index(
            "uq_ledger_walks_unfinished",
            text("(finished_at IS NULL)"),
            unique=True,
            postgresql_where=text("finished_at IS NULL"),
        ),
    )

    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    cursor: Mapped[int] = mapped_column(server_default="0")
    """The id of the last GGO that was compared."""
    lease_until: Mapped[datetime | None]
    """The lease of the process that works on it ends then."""
    ggos: Mapped[int] = mapped_column(server_default="0")
    """GGOs compared so far."""
    last_error: Mapped[str | None]
    """Why the run last stopped early."""


class LedgerDifference(Identified, Base):
    """A difference from the ledger that a reconciliation run found. A later run may resolve it."""

    __tablename__ = "ledger_differences"
    __table_args__ = (
        Index(
            "uq_ledger_differences_open",
            "kind",
            "address",
            unique=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index("ix_ledger_differences_ggo_id", "ggo_id"),
    )

    kind: Mapped[str]
    """See `origin.batches.rules.differences.DifferenceKind`."""
    address: Mapped[str]
    ggo_id: Mapped[int]
    """The compared GGO; not a foreign key, because a rollback may delete the GGO."""
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"))
    detail: Mapped[str]
    repair: Mapped[str | None]
    """How it was repaired, if it was."""
    first_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resolved_at: Mapped[datetime | None]


class Recovery(Identified, Base):
    """A run of `flask ledger recover` on this database, and its progress."""

    __tablename__ = "recoveries"
    __table_args__ = (CheckConstraint("stage IN ('points', 'issued', 'ledger')", name="stage"),)

    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    margin: Mapped[int]
    """By how much it increased the key counters at its start."""
    stage: Mapped[str] = mapped_column(server_default="points")
    """The current stage: users' metering points, GGOs issued to them, or GGOs on the ledger."""
    cursor: Mapped[int] = mapped_column(server_default="0")
    """The id of the last user, metering point or GGO that this stage has finished."""


class Adoption(Identified, Base):
    """An adoption of the original service's database (`flask adopt`), written when it is published."""

    __tablename__ = "adoptions"

    published_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    """When early events and subscriptions of the adopted users were applied, too."""
    report: Mapped[dict[str, Any]]
    """See `origin.adoption.rules.Report`."""


class AdoptionRejection(Identified, Base):
    """A row of the original service's database that was not adopted."""

    __tablename__ = "adoption_rejections"

    adoption_id: Mapped[int] = mapped_column(ForeignKey("adoptions.id"), index=True)
    kind: Mapped[str]
    """See `origin.adoption.rules.Kind`."""
    source_id: Mapped[int | None]
    """The row's id in the original database; NULL: it has none."""
    reason: Mapped[str]


class WebhookSubscription(Identified, Base):
    """A webhook subscription of a user, and its delivery queue.

    The queue is due when `next_attempt_at` has passed. A run that claims it delivers its events one
    after the other, and moves that time forward as its lease (see
    `origin.webhooks.queries.delivery_queue`). An ended subscription stays without its secret, as the
    log of its deliveries.
    """

    __tablename__ = "webhook_subscriptions"
    __table_args__ = (
        CheckConstraint("event IN ('ON_GGO_RECEIVED', 'ON_FORECAST_RECEIVED')", name="event"),
        CheckConstraint(
            "(ended_at IS NULL) = (secret IS NOT NULL) "
            "AND (ended_at IS NULL) = (end_reason IS NULL) "
            "AND (ended_at IS NULL OR (next_attempt_at IS NULL AND claim IS NULL))",
            name="ended",
        ),
        CheckConstraint("claim IS NULL OR next_attempt_at IS NOT NULL", name="claim"),
        Index(
            "uq_webhook_subscriptions_live",
            "user_id",
            "event",
            "url",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "ix_webhook_subscriptions_due",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
        *_sealed_by("webhook_subscriptions", "secret"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    event: Mapped[str]
    url: Mapped[str]
    host: Mapped[str]
    """Host and port of the URL; limits count by them."""
    secret: Mapped[str | None]
    """The secret that signs deliveries, sealed; NULL when ended."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]
    next_attempt_at: Mapped[datetime | None]
    """When the queue is due, or when the lease of its run ends. NULL: the queue is empty."""
    claim: Mapped[UUID | None]
    """Identifies the run that works on the queue."""
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    """Failed deliveries since the last successful one."""


class EarlySubscription(Identified, Base):
    """A subscription of a subject without an account. The first login turns it into a user's.

    There is one row for each subject, event and URL: writers hold `lock_subject`.
    """

    __tablename__ = "early_subscriptions"
    __table_args__ = (
        CheckConstraint("event IN ('ON_GGO_RECEIVED', 'ON_FORECAST_RECEIVED')", name="event"),
        Index("ix_early_subscriptions_subject", "subject"),
        Index("ix_early_subscriptions_subscribed_at", "subscribed_at"),
        *_sealed_by("early_subscriptions", "secret"),
    )

    subject: Mapped[str]
    event: Mapped[str]
    url: Mapped[str]
    host: Mapped[str]
    secret: Mapped[str]
    """The secret that will sign deliveries, sealed."""
    subscribed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebhookDelivery(Identified, Base):
    """An event for one subscriber, and later the record of its delivery.

    It is inserted in the transaction that causes the event (an outbox).
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint("state IN ('PENDING', 'DELIVERED', 'GIVEN_UP', 'CANCELLED')", name="state"),
        CheckConstraint(
            "(state = 'PENDING') = (next_attempt_at IS NOT NULL) "
            "AND (state = 'PENDING') = (ended_at IS NULL)",
            name="ended",
        ),
        Index(
            "ix_webhook_deliveries_lane",
            "subscription_id",
            "next_attempt_at",
            "id",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
        Index("ix_webhook_deliveries_subscription_id", "subscription_id", "id"),
        Index(
            "ix_webhook_deliveries_ended",
            "ended_at",
            postgresql_where=text("ended_at IS NOT NULL"),
        ),
        Index(
            "ix_webhook_deliveries_given_up",
            "ended_at",
            postgresql_where=text("state = 'GIVEN_UP'"),
        ),
    )

    subscription_id: Mapped[int] = mapped_column(ForeignKey("webhook_subscriptions.id"))
    webhook_id: Mapped[UUID] = mapped_column(server_default=func.gen_random_uuid())
    """The same in each attempt, so that receivers recognize repeats."""
    body: Mapped[bytes]
    """The bytes that each attempt signs and sends."""
    state: Mapped[str] = mapped_column(server_default="PENDING")
    next_attempt_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
    """When it may be sent next; NULL when ended."""
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    last_attempt_at: Mapped[datetime | None]
    last_status: Mapped[int | None] = mapped_column(SmallInteger)
    """The HTTP status of the last attempt; NULL without a response."""
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]


class Forecast(Identified, Base):
    """A forecast of what a sender will transfer to a recipient."""

    __tablename__ = "forecasts"
    __table_args__ = (
        CheckConstraint("cardinality(amounts) > 0", name="amounts"),
        CheckConstraint('"end" > begin', name="period"),
        Index("ix_forecasts_sender", "sender_id", "reference", "id"),
        Index("ix_forecasts_recipient", "recipient_id", "reference", "id"),
        Index("ix_forecasts_pair", "sender_id", "recipient_id", "id"),
    )

    public_id: Mapped[UUID] = mapped_column(server_default=func.gen_random_uuid(), unique=True)
    sender_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    recipient_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    sector: Mapped[str]
    reference: Mapped[str]
    begin: Mapped[datetime]
    end: Mapped[datetime]
    resolution: Mapped[str]
    """ISO 8601 duration of fixed length, as submitted."""
    amounts: Mapped[list[int]]
    """Wh, one for each step of the resolution."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Schedule(Base):
    """When a periodic task last ran (see `origin.maintenance.rules.schedules`)."""

    __tablename__ = "schedules"

    name: Mapped[str] = mapped_column(primary_key=True)
    """The task's name."""
    last_run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When the last completed run began."""
    claimed_at: Mapped[datetime | None]
    """When the current run began; NULL: there is none."""


class SchemaCompatibility(Base):
    """Which code may use this database, in one row; each migration writes it (`migrations/env.py`)."""

    __tablename__ = "schema_compatibility"
    __table_args__ = (CheckConstraint("is_row", name="one_row"),)

    is_row: Mapped[bool] = mapped_column(primary_key=True, server_default="true")
    usable_from: Mapped[str]
    """The oldest revision whose code works with this schema: code that has this migration may start."""


class ProcessSecrets(Base):
    """A process that runs: the secrets that it knows, its clock, and whether it works.

    `origin.keys.announcing` writes it every minute, `origin.tasks.heartbeats` with the process's work.
    """

    __tablename__ = "process_secrets"

    process: Mapped[str] = mapped_column(primary_key=True)
    """What operators call it: `web on host-1, process 4711`."""
    prefixes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """How texts begin that its secrets have sealed. The process seals with the first."""
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    kind: Mapped[str | None]
    """web, worker or beat; NULL: a process of a version before migration 0015."""
    clock_skew_seconds: Mapped[float | None]
    """By how many seconds its machine's clock was ahead of PostgreSQL's at `seen_at`."""
    works_until: Mapped[datetime | None]
    """A worker or Beat counts as working until then; each piece of work moves it ahead."""


class LostSecret(Base):
    """A secret that operators have declared lost: a process starts although rows still need it."""

    __tablename__ = "lost_secrets"

    prefix: Mapped[str] = mapped_column(primary_key=True)
    lost_at: Mapped[datetime] = mapped_column(server_default=func.now())
