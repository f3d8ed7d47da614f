"""The tables. Energy is in Wh; times are aware and in UTC.

Rules that one row can hold are CHECK constraints, uniqueness is an index.
"""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
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
"""What GGOs are grouped and filtered by."""


class Base(DeclarativeBase):
    """Base of all tables: naming of constraints, and the SQL types of Python's."""

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
    """When work on it is due; claiming it moves this one lease ahead. NULL: nothing to do."""
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    """How often it was claimed since it last made progress."""


class User(Identified, Base):
    """An account: the subject of tokens, and the owner of keys and GGOs."""

    __tablename__ = "users"

    subject: Mapped[str] = mapped_column(unique=True)
    master_key: Mapped[str]
    """Base58 extended private key `m`, sealed."""
    access_token: Mapped[str | None]
    """Sealed; NULL when disabled."""
    refresh_token: Mapped[str | None]
    """Sealed; NULL when disabled or never granted."""
    token_expires_at: Mapped[datetime | None]
    tokens_refused_at: Mapped[datetime | None]
    """When Hydra refused a refresh for good; cleared by the next login."""
    refreshing_until: Mapped[datetime | None]
    """Whoever refreshes the tokens has them to itself until then."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_login_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    next_metering_point_index: Mapped[int] = mapped_column(server_default="0")
    """The next i of `m/1/i`."""
    next_trade_index: Mapped[int] = mapped_column(server_default="0")
    """The next k of `m/0/k`; given out and never taken back."""


class LoginState(Base):
    """A login under way: one hour, once, one browser (contract: http-api, Accounts and login)."""

    __tablename__ = "login_states"

    state_hash: Mapped[str] = mapped_column(primary_key=True)
    browser_hash: Mapped[str]
    """Hash of the cookie that ties the state to the browser."""
    return_url: Mapped[str]
    nonce: Mapped[str]
    code_verifier: Mapped[str]
    """PKCE (RFC 7636), sealed."""
    expires_at: Mapped[datetime] = mapped_column(index=True)


class MeteringPoint(Identified, Base):
    """A user's meter: production, whose GGOs are issued to it, or consumption, retired to."""

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
    """When DataHub confirmed that it has the key."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DataHubJob(Identified, Queued, Base):
    """Something DataHub must still be told or asked on a user's behalf; deleted when done."""

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
    """Of `fetch_ggos`: GGOs that begin before then are here already."""
    fetch_hours: Mapped[int | None] = mapped_column(Integer)
    """Of `fetch_ggos`: how long a stretch may be, where DataHub was too slow for a longer one."""
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class KeptEvent(Identified, Base):
    """A webhook of DataHub's that can't be applied yet: its user or metering point is unknown."""

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
    """The event as it came, without the subject."""
    digest: Mapped[str] = mapped_column(unique=True)
    """Hash of kind, subject and payload: a repeat is the same event."""
    received_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class Technology(Base):
    """The label of a pair of technology and fuel code (AIB fact sheet 5), from DataHub."""

    __tablename__ = "technologies"

    technology_code: Mapped[str] = mapped_column(primary_key=True)
    fuel_code: Mapped[str] = mapped_column(primary_key=True)
    technology: Mapped[str]


class Ggo(Identified, Base):
    """A GGO of one owner, and where it stands (contract: domain, GGO).

    `synchronized` of the contract is `NOT locked`: of the two, the table holds one.
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
        # Questions about an account's GGOs are answered from these alone (see `origin.ggos.queries.ggos`):
        # all it ever had, what it stores, what was issued to it, what it retired.
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
        # Transfers, by who sent and by who received them.
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
    """The production metering point it was issued to; NULL for a GGO out of a split."""
    key_mismatch: Mapped[bool] = mapped_column(server_default=text("false"))
    """Issued to an address that our keys don't give: the ledger would refuse to let it go."""
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("ggos.id"))
    """The GGO it was split from."""
    split_position: Mapped[int | None] = mapped_column(Integer)
    """Its place among the targets of that split, from 0."""
    sender_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    """The owner of the GGO it was split from. A transfer, if it isn't the owner of this one."""
    reference: Mapped[str | None]
    """What the sender called the transfer."""
    key_index: Mapped[int | None]
    """The k of `m/0/k`; NULL for an issued GGO, whose key is `m/1/i/t`."""
    stored: Mapped[bool]
    retired: Mapped[bool] = mapped_column(server_default=text("false"))
    locked: Mapped[bool] = mapped_column(server_default=text("false"))
    """A transfer or retire is in flight, or the GGO was spent elsewhere."""
    spent_elsewhere: Mapped[bool] = mapped_column(server_default=text("false"))
    """An operation that isn't ours spent it on the ledger: blocked until that is mended."""
    never_sent: Mapped[bool] = mapped_column(server_default=text("false"))
    """The source or a part of a batch that was never sent: the ledger knows nothing of that batch."""
    retire_gsrn: Mapped[str | None] = mapped_column(ForeignKey("metering_points.gsrn"))
    retire_address: Mapped[str | None]
    """The address of the measurement that it is retired to."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Batch(Identified, Queued, Base):
    """One compose on its way to the ledger (contract: domain, Batch).

    PENDING → SUBMITTED → COMPLETED or DECLINED. Its children are the GGOs whose parent it spends.
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
        Index(
            "ix_batches_due",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    ggo_id: Mapped[int] = mapped_column(ForeignKey("ggos.id"))
    """The source GGO: the one it splits, or retires whole."""
    state: Mapped[str] = mapped_column(server_default="PENDING")
    ledger_batch_id: Mapped[str | None] = mapped_column(unique=True)
    """The signed batch's header signature, known before it is sent."""
    signed_batch: Mapped[bytes | None]
    """The BatchList as it is posted, every time the same bytes."""
    posts: Mapped[int] = mapped_column(Integer, server_default="0")
    """How many POSTs were begun; counted before each, so that a crash can't hide one."""
    refused_posts: Mapped[int] = mapped_column(Integer, server_default="0")
    """How many of them the ledger answered with a lasting refusal."""
    unarrived_posts: Mapped[int] = mapped_column(Integer, server_default="0")
    """How many of them surely never reached the ledger's queue."""
    answered_posts: Mapped[int] = mapped_column(Integer, server_default="0")
    """How many of them are surely not on their way any more."""
    last_post_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When the latest of them was begun."""
    last_error: Mapped[str | None]
    """What the ledger said last: its reason, when declined."""
    never_sent: Mapped[bool] = mapped_column(server_default=text("false"))
    """Completed without the ledger, which was switched off (LEDGER_ENABLED=0)."""
    undone: Mapped[dict[str, Any] | None]
    """What a rollback has removed (see `origin.batches.queries.outcomes`); kept for reconciliation."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    submitted_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class BatchEvent(Identified, Base):
    """Something that happened to a batch on its way, for operators; nothing is decided by it."""

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
    """The GGO it spends: a GGO is spent once, whatever happens."""


class IdempotencyKey(Base):
    """The answer to a compose that carried an Idempotency-Key (contract: http-api, compose)."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    holder: Mapped[str]
    """Token of the request that works on it; another one takes over when the lease ends."""
    lease_until: Mapped[datetime]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    """HTTP status of the answer; NULL while the request runs."""
    response: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class LedgerWalk(Identified, Base):
    """One comparison of all GGOs with the ledger, in slices; at most one is under way."""

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
    """The last GGO's id that was compared."""
    lease_until: Mapped[datetime | None]
    """Whoever walks has it until then."""
    ggos: Mapped[int] = mapped_column(server_default="0")
    """How many were compared so far."""
    last_error: Mapped[str | None]
    """Why the walk couldn't go on when it last stopped."""


class LedgerDifference(Identified, Base):
    """What a walk has found to differ, until a later look finds it in order."""

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
    """The GGO that was looked at; not a foreign key, as a rollback may remove it."""
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"))
    detail: Mapped[str]
    repair: Mapped[str | None]
    """What was done about it."""
    first_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resolved_at: Mapped[datetime | None]


class Recovery(Identified, Base):
    """One run of `flask ledger recover` on this database, and how far it has come."""

    __tablename__ = "recoveries"
    __table_args__ = (CheckConstraint("stage IN ('points', 'issued', 'ledger')", name="stage"),)

    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    margin: Mapped[int]
    """By how much it has moved the key counters on when it began."""
    stage: Mapped[str] = mapped_column(server_default="points")
    """What it is at: users' metering points, GGOs issued to points, GGOs on the ledger."""
    cursor: Mapped[int] = mapped_column(server_default="0")
    """The id of the last one that this stage is done with."""


class WebhookSubscription(Identified, Base):
    """Where a user's events go; and the lane on which they go there, one after the other.

    A lane is due when `next_attempt_at` has passed. Whoever claims it delivers what waits on it, and
    keeps others off by moving that time ahead (see `origin.webhooks.queries.delivery_queue`). A subscription that has ended
    stays, without its secret, for the log of what was delivered.
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
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    event: Mapped[str]
    url: Mapped[str]
    host: Mapped[str]
    """Host and port of the URL: what shares a limit."""
    secret: Mapped[str | None]
    """What deliveries are signed with, sealed; NULL when ended."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]
    next_attempt_at: Mapped[datetime | None]
    """When the lane is due, or the lease of who works on it ends; NULL: nothing waits."""
    claim: Mapped[UUID | None]
    """Names the run that works on the lane."""
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    """How many deliveries failed since the last that didn't."""


class EarlySubscription(Identified, Base):
    """A subscription of a subject that has no account yet; the first login makes it a user's.

    One row for each subject, event and URL: writers hold `lock_subject`.
    """

    __tablename__ = "early_subscriptions"
    __table_args__ = (
        CheckConstraint("event IN ('ON_GGO_RECEIVED', 'ON_FORECAST_RECEIVED')", name="event"),
        Index("ix_early_subscriptions_subject", "subject"),
        Index("ix_early_subscriptions_subscribed_at", "subscribed_at"),
    )

    subject: Mapped[str]
    event: Mapped[str]
    url: Mapped[str]
    host: Mapped[str]
    secret: Mapped[str]
    """What deliveries will be signed with, sealed."""
    subscribed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebhookDelivery(Identified, Base):
    """An event on its way to one subscriber, and afterwards the record of it.

    Written in the transaction that makes the event true.
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
    )

    subscription_id: Mapped[int] = mapped_column(ForeignKey("webhook_subscriptions.id"))
    webhook_id: Mapped[UUID] = mapped_column(server_default=func.gen_random_uuid())
    """The same in every attempt: by it a receiver knows a repeat."""
    body: Mapped[bytes]
    """The bytes that are sent, and signed, every time."""
    state: Mapped[str] = mapped_column(server_default="PENDING")
    next_attempt_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
    """From when on it may be sent; NULL when ended."""
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    last_attempt_at: Mapped[datetime | None]
    last_status: Mapped[int | None] = mapped_column(SmallInteger)
    """The HTTP status of the last attempt; NULL where there was no answer."""
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]


class Forecast(Identified, Base):
    """What a sender expects to transfer to a recipient."""

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
    """ISO 8601 duration of fixed length, as it was submitted."""
    amounts: Mapped[list[int]]
    """Wh, one for each step of the resolution."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Schedule(Base):
    """Periodic work: when it was last done (see `origin.maintenance.rules`)."""

    __tablename__ = "schedules"

    name: Mapped[str] = mapped_column(primary_key=True)
    """The task's."""
    last_run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When the last run began that came to its end."""
    claimed_at: Mapped[datetime | None]
    """When the run under way began; NULL: there is none."""
