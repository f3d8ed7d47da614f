"""The dashboard's rows and panels. Descriptions say what a good value is.

A panel whose value is bad names the runbook's sections that help. Red begins where an alert fires.
"""

from devstack.dashboard.model import (
    Kind,
    Panel,
    Row,
    gauge,
    in_an_hour,
    of_our_processes,
    or_zero,
    own,
    percentile,
    rate,
    with_total,
)

_ORANGE, _RED = "orange", "red"
_HOUR, _DAY = 3600.0, 86400.0
_FIRING = 'namespace=~"$namespace",alertname=~"AccountService.*",alertstate="firing"'
_UP_OR_DOWN = ((1, "up", "green"), (0, "down", _RED))
_FROM_ONE = ((1, _RED),)
# Probes and scrapes aren't requests of users.
_USERS = 'endpoint!~"/health.*|/metrics"'
_FAILED = 'status=~"5.."'
_CLIENTS = 'status=~"4.."'
_UNSUCCESSFUL = 'state!~"SUCCESS|IGNORED"'
_OF_WORKERS, _OF_BEAT = 'kind="worker"', 'kind="beat"'
_UNANSWERED = 'status=~"none|5.."'
# `never_sent` is permanent: it is shown, and is no reason for an alert.
_REAL = 'kind!="never_sent"'


def _calls_by_status(peer: str, words: str) -> Panel:
    matcher = f'peer="{peer}"'
    return Panel(
        f"Calls to {words}, by status",
        f"Calls to {words} in a second. Good: statuses of 2xx. `none` is a call without an answer.",
        {
            "{{status}}": with_total(
                "status",
                f"sum by (status) ({rate('peer_call_seconds_count', matcher)})",
                or_zero(f"sum({rate('peer_call_seconds_count', matcher)})"),
            )
        },
        unit="reqps",
        alerts=["AccountServicePeerFails"],
    )


def _calls_slowest(peer: str, words: str) -> Panel:
    matchers = [f'peer="{peer}"']
    return Panel(
        f"Duration of calls to {words}",
        f"Half, and 19 of 20, of the calls to {words} end within this time. Good: steady. "
        "No line: no calls.",
        {
            "50 %": percentile(0.5, "peer_call_seconds", matchers=matchers),
            "95 %": percentile(0.95, "peer_call_seconds", matchers=matchers),
        },
        unit="s",
        alerts=["AccountServicePeerFails"],
    )


_OVERVIEW = Row(
    "Overview",
    [
        Panel(
            "Database",
            "Whether a web can read its database. Good: up.",
            {"": f"max({gauge('database_up')})"},
            kind=Kind.STAT,
            texts=_UP_OR_DOWN,
            alerts=["AccountServiceDown", "AccountServiceDatabaseDown"],
            width=3,
        ),
        Panel(
            "Redis",
            "Whether every web can write to Redis. Good: up. Requests work without it, and batches, "
            "jobs and webhooks wait.",
            {"": f"min({own('redis_up')})"},
            kind=Kind.STAT,
            texts=_UP_OR_DOWN,
            alerts=["AccountServiceRedisDown"],
            width=3,
        ),
        Panel(
            "Workers",
            "Workers that have ended a task lately. Good: as many as you run.",
            {"": f"max({gauge('processes', _OF_WORKERS)})"},
            kind=Kind.STAT,
            texts=[(0, "none", _RED)],
            alerts=["AccountServiceNothingSwept"],
            width=3,
        ),
        Panel(
            "Beat",
            "Beats that have sent a sweep lately. Good: 1.",
            {"": f"max({gauge('processes', _OF_BEAT)})"},
            kind=Kind.STAT,
            texts=[(0, "missing", _RED)],
            thresholds=[(2, _ORANGE)],
            alerts=["AccountServiceBeatMissing"],
            width=3,
        ),
        Panel(
            "Ledger differences",
            "GGOs that differ from the ledger, without those that were never sent. Good: 0.",
            {"": f"sum(max by (kind) ({gauge('ledger_differences', _REAL)}))"},
            kind=Kind.STAT,
            thresholds=_FROM_ONE,
            alerts=["AccountServiceDiffersFromLedger"],
            width=3,
        ),
        Panel(
            "Last reconciliation",
            "How long ago a reconciliation run last reached the end. Good: about `RECONCILE_INTERVAL`, "
            "or the length of a run.",
            {"": f"max({gauge('ledger_walk_age_seconds')})"},
            unit="s",
            kind=Kind.STAT,
            # The alert fires two RECONCILE_INTERVALs later.
            thresholds=[(2 * _DAY, _ORANGE)],
            alerts=["AccountServiceNotReconciled"],
            width=3,
        ),
        Panel(
            "Mode",
            "Good: normal. `no ledger`: `LEDGER_ENABLED=0`. `recovery`: `RECOVERY_MODE=1`; composes and "
            "the workers' tasks are suspended.",
            {"": f"2 * max({own('recovery_mode')}) + 1 - min({own('ledger_enabled')})"},
            kind=Kind.STAT,
            texts=[
                (0, "normal", "green"),
                (1, "no ledger", _ORANGE),
                (2, "recovery", _RED),
                (3, "recovery", _RED),
            ],
            alerts=["AccountServiceInRecoveryMode"],
            width=3,
        ),
        Panel(
            "Alerts that fire",
            "Alerts of prometheus-alerts.yaml that fire. Good: 0. Also 0 if Prometheus has no such rules.",
            {"": or_zero(f"count(ALERTS{{{_FIRING}}})")},
            kind=Kind.STAT,
            thresholds=_FROM_ONE,
            width=3,
        ),
        Panel(
            "Oldest batch",
            "How long the oldest batch has waited for its end. Good: seconds to minutes.",
            {"": f"max({gauge('batch_oldest_seconds')})"},
            unit="s",
            kind=Kind.STAT,
            thresholds=[(600, _ORANGE), (_HOUR, _RED)],
            alerts=["AccountServiceBatchesWait"],
            width=3,
        ),
        Panel(
            "Oldest DataHub job",
            "How long the oldest job at DataHub has waited. Good: seconds.",
            {"": f"max({gauge('datahub_job_oldest_seconds')})"},
            unit="s",
            kind=Kind.STAT,
            thresholds=[(600, _ORANGE), (_HOUR, _RED)],
            alerts=["AccountServiceDataHubWorkWaits"],
            width=3,
        ),
        Panel(
            "Oldest webhook",
            "How long the oldest delivery to a subscriber has waited. Good: minutes. A subscriber that "
            "is down keeps its deliveries waiting for up to a day.",
            {"": f"max({gauge('webhook_oldest_seconds')})"},
            unit="s",
            kind=Kind.STAT,
            thresholds=[(600, _ORANGE), (_HOUR, _RED)],
            alerts=["AccountServiceWebhooksWait"],
            width=3,
        ),
        Panel(
            "Overdue work",
            "For how long work has been due that no worker has taken up. Good: seconds.",
            {"": f"max({gauge('work_overdue_seconds')})"},
            unit="s",
            kind=Kind.STAT,
            thresholds=[(60, _ORANGE), (600, _RED)],
            alerts=["AccountServiceWorkOverdue"],
            width=3,
        ),
        Panel(
            "Errors",
            "The share of requests that were answered 5xx. Good: 0 %.",
            {
                "": or_zero(
                    f"sum({rate('request_seconds_count', _USERS, _FAILED)})"
                    f" / (sum({rate('request_seconds_count', _USERS)}) > 0)"
                )
            },
            unit="percentunit",
            kind=Kind.STAT,
            thresholds=[(0.001, _ORANGE), (0.05, _RED)],
            alerts=["AccountServiceErrors", "AccountServiceUnavailable"],
            width=3,
        ),
        Panel(
            "Duration (95 %)",
            "19 of 20 requests are answered within this time. Good: below a second. "
            "Composes and declarations take longer than listings; `Prefer: wait` waits up to 25 s.",
            {"": percentile(0.95, "request_seconds", matchers=[_USERS])},
            unit="s",
            kind=Kind.STAT,
            thresholds=[(1, _ORANGE), (5, _RED)],
            alerts=["AccountServiceSlow"],
            width=3,
        ),
        Panel(
            "Declined (24 h)",
            "Batches that were declined in the last 24 hours, and whose effects were rolled back. Good: 0.",
            {"": f"max({gauge('batches_declined_last_day')})"},
            kind=Kind.STAT,
            thresholds=_FROM_ONE,
            alerts=["AccountServiceBatchesDeclined"],
            width=3,
        ),
        Panel(
            "Given up (24 h)",
            "Deliveries that were given up in the last 24 hours. Good: 0.",
            {"": f"max({gauge('webhooks_given_up_last_day')})"},
            kind=Kind.STAT,
            thresholds=_FROM_ONE,
            alerts=["AccountServiceWebhooksGivenUp"],
            width=3,
        ),
        Panel(
            "Requests by status",
            "Requests answered in a second. Good: 2xx. 4xx are clients' mistakes; 429 is the rate limit.",
            {"{{status}}": f"sum by (status) ({rate('request_seconds_count', _USERS)})"},
            unit="reqps",
            alerts=["AccountServiceErrors", "AccountServiceUnavailable"],
        ),
        Panel(
            "Duration of requests",
            "Half, 19 of 20, and 99 of 100 requests are answered within this time. Good: steady.",
            {
                f"{share * 100:g} %": percentile(share, "request_seconds", matchers=[_USERS])
                for share in (0.5, 0.95, 0.99)
            },
            unit="s",
            alerts=["AccountServiceSlow"],
        ),
        Panel(
            "Failed calls by peer",
            "Calls in a second that got no answer or 5xx. Good: 0. What failed is tried again.",
            {
                "{{peer}}": f"sum by (peer) ({rate('peer_call_seconds_count', _UNANSWERED)})"
                f" or 0 * sum by (peer) ({rate('peer_call_seconds_count')})"
            },
            unit="reqps",
            alerts=["AccountServicePeerFails"],
        ),
        Panel(
            "What waits",
            "Rows that wait for workers. Good: each line returns to near 0.",
            {
                "batches": f"sum(max by (state) ({gauge('batches')}))",
                "webhooks": f"max({gauge('webhooks_waiting')})",
                "jobs at DataHub": f"sum(max by (kind) ({gauge('datahub_jobs')}))",
                "early events": f"sum(max by (kind) ({gauge('kept_events')}))",
                "batches without an operation": f"max({gauge('batches_without_operation')})",
            },
            width=12,
            alerts=["AccountServiceBatchesWait", "AccountServiceDataHubWorkWaits"],
        ),
        Panel(
            "How long the oldest has waited",
            "Ages of the oldest rows that wait. Good: lines that don't rise for long.",
            {
                "batch": f"max({gauge('batch_oldest_seconds')})",
                "webhook": f"max({gauge('webhook_oldest_seconds')})",
                "job at DataHub": f"max({gauge('datahub_job_oldest_seconds')})",
                "early event": f"max({gauge('kept_event_oldest_seconds')})",
            },
            unit="s",
            width=12,
            alerts=["AccountServiceBatchesWait", "AccountServiceDataHubWorkWaits"],
        ),
    ],
    is_open=True,
)

_REQUESTS = Row(
    "Requests",
    [
        Panel(
            "Requests by endpoint",
            "Requests answered in a second. It shows what clients do; no value is good or bad.",
            {"{{endpoint}}": f"sum by (endpoint) ({rate('request_seconds_count', _USERS)})"},
            unit="reqps",
        ),
        Panel(
            "Duration by endpoint (95 %)",
            "19 of 20 requests of an endpoint are answered within this time. Good: below the line.",
            {"{{endpoint}}": percentile(0.95, "request_seconds", "endpoint", matchers=[_USERS])},
            unit="s",
            thresholds=[(5, _RED)],
            alerts=["AccountServiceSlow"],
        ),
        Panel(
            "Errors by endpoint",
            "Requests in a second that were answered 5xx. Good: 0. 500 is a fault in the service; "
            "502, 503 and 504 come from peers or the database. An endpoint's first error "
            "since a web's start appears as a line at 0.",
            {
                "{{endpoint}} {{status}}": with_total(
                    "endpoint",
                    f"sum by (endpoint, status) ({rate('request_seconds_count', _USERS, _FAILED)})",
                    or_zero(f"sum({rate('request_seconds_count', _USERS, _FAILED)})"),
                )
            },
            unit="reqps",
            alerts=["AccountServiceErrors", "AccountServiceUnavailable"],
        ),
        Panel(
            "Requests in progress",
            "Requests that each web is answering. Good: it follows the traffic, and returns to near 0.",
            {"{{instance}}": f"sum by (instance) ({own('requests_running')})"},
            alerts=["AccountServiceSlow"],
        ),
        Panel(
            "Rejected requests",
            "Answers in a second that clients cause: 401 and 403 (tokens), 429 (rate limit), other 4xx. "
            "No value is good or bad by itself, but a rise after an upgrade is bad.",
            {
                "{{status}}": with_total(
                    "status",
                    f"sum by (status) ({rate('request_seconds_count', _USERS, _CLIENTS)})",
                    or_zero(f"sum({rate('request_seconds_count', _USERS, _CLIENTS)})"),
                )
            },
            unit="reqps",
        ),
        Panel(
            "Rate limit",
            "Requests in a second beyond `RATE_LIMIT_PER_MINUTE`, and requests that Redis couldn't "
            "count. Good: 0. Uncounted requests are let through.",
            {
                "beyond the limit": f"sum({rate('rate_limited_total')})",
                "not counted": f"sum({rate('rate_limit_failures_total')})",
            },
            unit="reqps",
        ),
    ],
)

_LEDGER = Row(
    "Batches and ledger",
    [
        Panel(
            "Batches that have not ended",
            "`PENDING` is not yet posted, `SUBMITTED` is. Good: it returns to near 0.",
            {"{{state}}": f"max by (state) ({gauge('batches')})"},
            alerts=["AccountServiceBatchesWait"],
        ),
        Panel(
            "Age of the oldest batch",
            "How long the oldest batch of each state has waited. Good: below the line.",
            {"{{state}}": f"max by (state) ({gauge('batch_oldest_seconds')})"},
            unit="s",
            thresholds=[(_HOUR, _RED)],
            alerts=["AccountServiceBatchesWait"],
        ),
        Panel(
            "Batches that ended",
            "Batches that ended in a second. Good: no `DECLINED`; its effects were rolled back.",
            {"{{state}}": f"sum by (state) ({rate('batches_ended_total')})"},
            unit="ops",
            alerts=["AccountServiceBatchesDeclined"],
        ),
        Panel(
            "Batches that need an operator",
            "Batches of the last hour that somebody must look at, and the reasons. Good: 0.",
            {
                "{{reason}}": with_total(
                    "reason",
                    f"sum by (reason) ({in_an_hour('batch_alerts_total')}) > 0",
                    f"sum({in_an_hour('batch_alerts_total')})",
                )
            },
            thresholds=_FROM_ONE,
            alerts=["AccountServiceBatchNeedsALook"],
        ),
        Panel(
            "Differences from the ledger",
            "GGOs that differ from the ledger, and the kinds. Good: 0; `never_sent` may stay.",
            {
                "{{kind}}": with_total(
                    "kind",
                    f"max by (kind) ({gauge('ledger_differences')}) > 0",
                    f"sum(max by (kind) ({gauge('ledger_differences')}))",
                )
            },
            alerts=["AccountServiceDiffersFromLedger"],
        ),
        Panel(
            "Time since the last complete reconciliation",
            "Since a reconciliation run last reached the end, and the age of a run that hasn't. "
            "Good: below two days and two intervals.",
            {
                "since the last one": f"max({gauge('ledger_walk_age_seconds')})",
                "unfinished": f"max({gauge('ledger_walk_running_seconds')})",
                "interval": f"max({own('reconcile_interval_seconds')})",
            },
            unit="s",
            alerts=["AccountServiceNotReconciled"],
        ),
        _calls_by_status("Ledger", "the ledger"),
        _calls_slowest("Ledger", "the ledger"),
        Panel(
            "Errors of the ledger",
            "Errors that the ledger answered in the last hour, and Sawtooth's codes. Good: 0, or few "
            "of 31 (its queue is full).",
            {
                "{{code}}": with_total(
                    "code",
                    f"sum by (code) ({in_an_hour('ledger_errors_total')}) > 0",
                    f"sum({in_an_hour('ledger_errors_total')})",
                )
            },
            alerts=["AccountServiceBatchesDeclined"],
        ),
    ],
)

_WEBHOOKS = Row(
    "Webhooks",
    [
        Panel(
            "Deliveries that wait",
            "Webhooks that wait to be delivered. Good: it returns to near 0.",
            {"waiting": f"max({gauge('webhooks_waiting')})"},
            alerts=["AccountServiceWebhooksWait"],
        ),
        Panel(
            "Age of the oldest delivery",
            "Good: minutes. A subscriber that is down keeps its deliveries waiting for up to a day.",
            {"age": f"max({gauge('webhook_oldest_seconds')})"},
            unit="s",
            thresholds=[(_HOUR, _RED)],
            alerts=["AccountServiceWebhooksWait"],
        ),
        Panel(
            "Attempts to deliver",
            "Attempts in a second. Good: `delivered`. `retry` comes again, `given_up` doesn't, "
            "`gone` ends the subscription.",
            {"{{outcome}}": f"sum by (outcome) ({rate('webhooks_total')})"},
            unit="ops",
            alerts=["AccountServiceWebhooksGivenUp"],
        ),
        Panel(
            "Deliveries that were given up (24 h)",
            "In the last 24 hours. Good: 0. Subscribers must fetch what they missed; "
            "`flask webhooks replay` sends it again.",
            {"given up": f"max({gauge('webhooks_given_up_last_day')})"},
            thresholds=_FROM_ONE,
            alerts=["AccountServiceWebhooksGivenUp"],
        ),
        Panel(
            "Failing subscriptions by host",
            "Subscriptions whose last delivery failed, at the 20 worst hosts. Good: 0.",
            {
                "{{host}}": with_total(
                    "host",
                    f"max by (host) ({gauge('webhook_subscriptions_failing')})",
                    or_zero(f"sum(max by (host) ({gauge('webhook_subscriptions_failing')}))"),
                )
            },
        ),
        Panel(
            "Failures in a row by host",
            "Failures since a host's last success, added over its subscriptions. Good: 0.",
            {
                "{{host}}": with_total(
                    "host",
                    f"max by (host) ({gauge('webhook_failures_in_a_row')})",
                    or_zero(f"sum(max by (host) ({gauge('webhook_failures_in_a_row')}))"),
                )
            },
        ),
    ],
)

_DATAHUB = Row(
    "DataHub",
    [
        Panel(
            "Jobs at DataHub",
            "Calls to DataHub that must still be made, by kind. Good: it returns to near 0. "
            "Jobs of accounts that must log in stay.",
            {"{{kind}}": f"max by (kind) ({gauge('datahub_jobs')})"},
            alerts=["AccountServiceDataHubWorkWaits"],
        ),
        Panel(
            "Age of the oldest job",
            "How long the oldest job of each kind has waited. Good: below the line.",
            {"{{kind}}": f"max by (kind) ({gauge('datahub_job_oldest_seconds')})"},
            unit="s",
            thresholds=[(_HOUR, _RED)],
            alerts=["AccountServiceDataHubWorkWaits"],
        ),
        Panel(
            "Early events",
            "Events that wait for their user or metering point. Good: few; some wait for a login.",
            {"{{kind}}": f"max by (kind) ({gauge('kept_events')})"},
            alerts=["AccountServiceEventsKept"],
        ),
        Panel(
            "Age of the oldest early event",
            "How long the oldest event of each kind has waited. Good: below the line.",
            {"{{kind}}": f"max by (kind) ({gauge('kept_event_oldest_seconds')})"},
            unit="s",
            alerts=["AccountServiceEventsKept"],
            thresholds=[(_DAY, _RED)],
        ),
        _calls_by_status("DataHubService", "DataHub"),
        _calls_slowest("DataHubService", "DataHub"),
        Panel(
            "GGOs issued to foreign addresses",
            "GGOs that were issued to an address that their owner's keys don't derive. Good: 0.",
            {
                "last 24 hours": f"max({gauge('key_mismatches_last_day')})",
                "last hour": f"sum({in_an_hour('key_mismatches_total')})",
            },
            thresholds=_FROM_ONE,
            alerts=["AccountServiceKeysDiffer"],
        ),
        _calls_by_status("EnergyTypeService", "EnergyType"),
        _calls_slowest("EnergyTypeService", "EnergyType"),
    ],
)

_IDENTITY = Row(
    "Hydra and accounts",
    [
        _calls_by_status("Hydra", "Hydra"),
        _calls_slowest("Hydra", "Hydra"),
        Panel(
            "Refreshes of users' tokens",
            "In the last hour. Good: `refreshed`. `refused`: the user must log in. "
            "`failed` is tried again.",
            {"{{outcome}}": f"sum by (outcome) ({in_an_hour('token_refreshes_total')})"},
            alerts=["AccountServiceTokensExpire", "AccountServiceTokensRefused"],
        ),
        Panel(
            "Expired tokens",
            "Active accounts whose access token expired and was not refreshed. Good: 0.",
            {"accounts": f"max({gauge('tokens_expired')})"},
            thresholds=_FROM_ONE,
            alerts=["AccountServiceTokensExpire"],
        ),
        Panel(
            "Accounts that must log in",
            "Active accounts whose refresh Hydra refused. DataHub isn't asked for them until they log "
            "in. Good: few, and no sudden rise.",
            {"accounts": f"max({gauge('users_to_log_in')})"},
            alerts=["AccountServiceTokensRefused"],
        ),
        Panel(
            "Accounts",
            "Active and disabled accounts. No value is good or bad.",
            {
                "active": f"max({gauge('users')})",
                "disabled": f"max({gauge('users_disabled')})",
            },
        ),
    ],
)

_WORKERS = Row(
    "Workers and tasks",
    [
        Panel(
            "Processes at work",
            "Webs that run, workers that have ended a task lately, and Beats that have sent a sweep "
            "lately: also those that Prometheus doesn't scrape. Good: as many as you run, and one Beat.",
            {"{{kind}}": f"max by (kind) ({gauge('processes')})"},
            alerts=["AccountServiceNothingSwept", "AccountServiceBeatMissing"],
        ),
        Panel(
            "Overdue work",
            "For how long work of each queue has been due that no worker has taken up. Good: seconds.",
            {"{{queue}}": f"max by (queue) ({gauge('work_overdue_seconds')})"},
            unit="s",
            thresholds=[(600, _RED)],
            alerts=["AccountServiceWorkOverdue"],
        ),
        Panel(
            "Age of the last periodic run",
            "Since the last completed run of each periodic task began. Good: an hour or less for tokens "
            "and stuck batches, a day or less for the others.",
            {"{{task}}": f"max by (task) ({gauge('periodic_run_age_seconds')})"},
            unit="s",
            alerts=["AccountServicePeriodicWorkFails"],
        ),
        Panel(
            "Tasks ended",
            "Tasks that workers ended in a second. Good: a steady line for each task of a sweep.",
            {"{{task}}": f"sum by (task) ({rate('task_seconds_count')})"},
            unit="ops",
            alerts=["AccountServiceNothingSwept"],
        ),
        Panel(
            "Tasks that failed",
            "Tasks in a second that ended in another state than SUCCESS. Good: 0. "
            "Their work is found again at the next sweep.",
            {
                "{{task}}": with_total(
                    "task",
                    f"sum by (task) ({rate('task_seconds_count', _UNSUCCESSFUL)}) > 0",
                    or_zero(f"sum({rate('task_seconds_count', _UNSUCCESSFUL)})"),
                )
            },
            unit="ops",
            alerts=["AccountServiceTasksFail"],
        ),
        Panel(
            "Wake-ups sent",
            "Wake-ups that webs and Beat sent in a second. Good: those of Beat never stop.",
            {"{{task}}": f"sum by (task) ({rate('tasks_sent_total')})"},
            unit="ops",
            alerts=["AccountServiceNothingSwept"],
        ),
        Panel(
            "Wait of wake-ups (95 %)",
            "19 of 20 wake-ups wait in Redis for a worker no longer than this. Good: below a second. "
            "If it rises, add workers.",
            {"{{task}}": percentile(0.95, "task_wait_seconds", "task")},
            unit="s",
        ),
        Panel(
            "Duration of tasks (95 %)",
            "19 of 20 tasks end within this time. Good: steady. "
            "Reconciliation and pruning may take long.",
            {"{{task}}": percentile(0.95, "task_seconds", "task")},
            unit="s",
        ),
        Panel(
            "Tasks at work",
            "How many tasks each worker has worked on at a time, on average. "
            "Good: well below `CONCURRENCY`.",
            {"{{instance}}": f"sum by (instance) ({rate('task_seconds_sum')})"},
        ),
    ],
)

_PROCESSES = Row(
    "Processes",
    [
        Panel(
            "Memory",
            "Resident memory of each instance; a web's is that of all its processes. "
            "Good: no steady growth over days.",
            {"{{instance}}": of_our_processes("process_resident_memory_bytes")},
            unit="bytes",
        ),
        Panel(
            "CPU",
            "Cores that each instance uses. Good: below the limit that it was given.",
            {
                "{{instance}}": "rate(process_cpu_seconds_total"
                '{namespace=~"$namespace",job=~"$job",instance=~"$instance"}[$__rate_interval])'
                f" and on (job, instance) {own('build_info')}"
            },
        ),
        Panel(
            "Open files and sockets",
            "File descriptors of each instance. Good: no steady growth.",
            {"{{instance}}": of_our_processes("process_open_fds")},
        ),
        Panel(
            "Database connections in use",
            "Good: below what is open, and the sum of what is open below PostgreSQL's `max_connections`.",
            {
                "{{instance}} in use": f"sum by (instance) ({own('pool_connections_used')})",
                "{{instance}} open": f"sum by (instance) ({own('pool_connections')})",
            },
            alerts=["AccountServicePoolUsedUp"],
        ),
        Panel(
            "Requests without a database connection",
            "Requests in a second for which no connection became free. Good: 0.",
            {"requests": f"sum({rate('pool_timeouts_total')})"},
            unit="reqps",
            alerts=["AccountServicePoolUsedUp"],
        ),
        Panel(
            "Clock skew",
            "How far each machine's clock is ahead of PostgreSQL's. Good: within 2 s of 0.",
            {"{{instance}}": f"max by (instance) ({own('clock_skew_seconds')})"},
            unit="s",
            thresholds=[(2, _RED)],
            alerts=["AccountServiceClockSkew"],
            from_zero=False,
        ),
        Panel(
            "Clock skew by kind of process",
            "The largest difference from PostgreSQL's clock, without sign: also of processes that "
            "Prometheus doesn't scrape. Good: below 2 s.",
            {"{{kind}}": f"max by (kind) ({gauge('process_clock_skew_seconds')})"},
            unit="s",
            thresholds=[(2, _RED)],
            alerts=["AccountServiceClockSkew"],
        ),
        Panel(
            "Processes that lack a secret",
            "Processes that can't read what another one encrypts (`KEY_ENCRYPTION_SECRETS`). Good: 0; "
            "while secrets are exchanged it may be more.",
            {"processes": f"max({gauge('processes_lacking_a_secret')})"},
            thresholds=_FROM_ONE,
            alerts=["AccountServiceSecretsDiffer"],
        ),
        Panel(
            "Redis by web",
            "Whether each web can write to Redis. Good: 1.",
            {"{{instance}}": f"min by (instance) ({own('redis_up')})"},
            alerts=["AccountServiceRedisDown"],
        ),
        Panel(
            "Lost spans",
            "Spans in a second that didn't reach the OTLP collector. Good: 0. Without traces: 0.",
            {"spans": f"sum({rate('spans_dropped_total')})"},
            unit="ops",
        ),
        Panel(
            "Targets that answer",
            "Whether Prometheus reaches each instance. Good: 1.",
            {
                "{{job}} {{instance}}": 'up{namespace=~"$namespace",job=~"$job",instance=~"$instance"}'
            },
            alerts=["AccountServiceDown"],
        ),
        Panel(
            "Time since the start",
            "How long ago each instance started. Good: it falls to 0 at an upgrade only.",
            {"{{instance}}": f"time() - ({of_our_processes('process_start_time_seconds')})"},
            unit="s",
        ),
        Panel(
            "Versions",
            "The version, the git revision and Python's version of each instance. "
            "Good: one version, apart from upgrades.",
            {"": f"max by (instance, version, revision, python) ({own('build_info')})"},
            kind=Kind.TABLE,
            width=24,
        ),
    ],
)

ROWS = (_OVERVIEW, _REQUESTS, _LEDGER, _WEBHOOKS, _DATAHUB, _IDENTITY, _WORKERS, _PROCESSES)
