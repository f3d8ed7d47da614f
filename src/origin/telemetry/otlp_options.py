"""What the `OTEL_…` variables say, and which of them have no effect here.

Where OpenTelemetry has a variable for traces alone (`OTEL_EXPORTER_OTLP_TRACES_…`), it wins over the one
for all signals.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from origin.settings import Settings
from origin.shared.key_values import headers_in, key_values
from origin.shared.release import VERSION
from origin.telemetry.context import Sampling

_DEFAULT_ENDPOINT = "http://localhost:4318"
_TRACES_PATH = "/v1/traces"
_PROTOCOL = "http/json"
_RATIOS = {"always_on": 1.0, "always_off": 0.0, "traceidratio": None}
"""The share of traces by sampler; None: OTEL_TRACES_SAMPLER_ARG has it. A `parentbased_` sampler takes the
parent's decision if there is one."""
_PARENT_BASED = "parentbased_"
_OTHER_SIGNALS = frozenset({"OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"})
"""The service sends neither signal by OTLP, so `none` needs no warning."""


@dataclass(frozen=True)
class OtlpOptions:
    """Where spans go and how.

    :param url: The collector's URL for traces.
    :param certificate: The file of authorities for the collector's certificate; None: those for peers.
    :param client_certificate: The files of our certificate and its key, or one file with both; None: no
        client certificate.
    :param timeout_s: Seconds for an export, retries included.
    :param resource: Attributes of all spans of this process.
    """

    url: str
    headers: dict[str, str] = field(repr=False)
    certificate: str | None
    client_certificate: tuple[str, str] | str | None
    verify: bool
    is_compressed: bool
    timeout_s: float
    delay_ms: int
    queue_size: int
    batch_size: int
    resource: dict[str, str]


def sampling_of(settings: Settings) -> Sampling:
    """Return which traces are exported. An unknown sampler counts as `parentbased_always_on`."""
    name = settings.otel_traces_sampler
    kind = name.removeprefix(_PARENT_BASED)
    if kind not in _RATIOS:
        return Sampling()
    ratio = _RATIOS[kind]
    if ratio is None:
        ratio = _ratio(settings.otel_traces_sampler_arg)
    # Without a valid argument all traces are taken, as OpenTelemetry's specification has it.
    return Sampling(1.0 if ratio is None else ratio, follows_parent=name != kind)


def _ratio(text: str) -> float | None:
    try:
        ratio = float(text)
    except ValueError:
        return None
    return ratio if 0 <= ratio <= 1 else None


def otlp_options(settings: Settings) -> OtlpOptions | None:
    """Return where spans go; None: nowhere.

    They go somewhere if an endpoint is set, or if `OTEL_TRACES_EXPORTER` is `otlp`.
    """
    exporters = _exporters(settings)
    base = settings.otel_exporter_otlp_endpoint
    url = settings.otel_exporter_otlp_traces_endpoint or (
        (base or _DEFAULT_ENDPOINT).rstrip("/") + _TRACES_PATH
    )
    has_endpoint = bool(base or settings.otel_exporter_otlp_traces_endpoint)
    is_asked = "otlp" in exporters if exporters else has_endpoint
    if settings.otel_sdk_disabled or not is_asked:
        return None
    headers = settings.otel_exporter_otlp_traces_headers.get_secret_value()
    return OtlpOptions(
        url=url,
        headers=headers_in(headers or settings.otel_exporter_otlp_headers.get_secret_value()),
        certificate=settings.otel_exporter_otlp_traces_certificate
        or settings.otel_exporter_otlp_certificate
        or None,
        client_certificate=_client_certificate(settings),
        verify=settings.tls_verify,
        is_compressed=_compression(settings) == "gzip",
        timeout_s=(
            settings.otel_exporter_otlp_traces_timeout or settings.otel_exporter_otlp_timeout
        )
        / 1000,
        delay_ms=settings.otel_bsp_schedule_delay,
        queue_size=settings.otel_bsp_max_queue_size,
        # The specification: a batch is at most as large as the queue.
        batch_size=min(settings.otel_bsp_max_export_batch_size, settings.otel_bsp_max_queue_size),
        resource=_resource(settings),
    )


def _client_certificate(settings: Settings) -> tuple[str, str] | str | None:
    certificate = (
        settings.otel_exporter_otlp_traces_client_certificate
        or settings.otel_exporter_otlp_client_certificate
    )
    key = settings.otel_exporter_otlp_traces_client_key or settings.otel_exporter_otlp_client_key
    # If no key is named, it is in the certificate's file.
    return (certificate, key) if certificate and key else certificate or None


def _compression(settings: Settings) -> str:
    return (
        settings.otel_exporter_otlp_traces_compression
        or settings.otel_exporter_otlp_compression
        or "none"
    )


def _resource(settings: Settings) -> dict[str, str]:
    named = {"service.name": settings.otel_service_name} if settings.otel_service_name else {}
    return {
        "service.name": settings.service_name,
        "service.version": VERSION,
        **key_values(settings.otel_resource_attributes),
        **named,
    }


def ignored_variables(settings: Settings, environment: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a warning, without values, for each `OTEL_…` variable that doesn't have its usual effect.

    :param environment: The names and values of the process's variables.
    """
    if settings.otel_sdk_disabled:
        return
    known = {name.upper() for name in type(settings).model_fields}
    for name, value in sorted(environment):
        is_known = not name.startswith("OTEL_") or name.removesuffix("_FILE") in known
        is_off = not value or (name in _OTHER_SIGNALS and value == "none")
        if not (is_known or is_off):
            yield f"{name} has no effect: this service doesn't know it"
    yield from _unsupported_values(settings)


def _unsupported_values(settings: Settings) -> Iterator[str]:
    if not set(_exporters(settings)) <= {"otlp", "none"}:
        yield "OTEL_TRACES_EXPORTER: only otlp and none have an effect"
    protocol = settings.otel_exporter_otlp_traces_protocol or settings.otel_exporter_otlp_protocol
    if protocol not in {"", _PROTOCOL}:
        yield f"OTEL_EXPORTER_OTLP_PROTOCOL: only {_PROTOCOL} is supported, and used instead"
    if _compression(settings) not in {"gzip", "none"}:
        yield "OTEL_EXPORTER_OTLP_COMPRESSION: only gzip and none have an effect"
    kind = settings.otel_traces_sampler.removeprefix(_PARENT_BASED)
    if kind not in _RATIOS:
        yield "OTEL_TRACES_SAMPLER: unknown; parentbased_always_on is used instead"
    elif _RATIOS[kind] is None and _ratio(settings.otel_traces_sampler_arg) is None:
        yield "OTEL_TRACES_SAMPLER_ARG: not a number from 0 to 1; all traces are sampled"


def _exporters(settings: Settings) -> list[str]:
    return [each.strip() for each in settings.otel_traces_exporter.split(",") if each.strip()]
