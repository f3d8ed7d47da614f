"""What the standard variables of OpenTelemetry mean here."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from devstack.openapi_document import SETTINGS
from origin.errors import ConfigurationError
from origin.settings import Settings
from origin.shared.release import VERSION
from origin.telemetry.logs import configure_logging
from origin.telemetry.otlp_options import (
    OtlpOptions,
    ignored_variables,
    otlp_options,
    sampling_of,
)
from tests.support.certificates import loopback_certificate

_ENDPOINT = {"otel_exporter_otlp_endpoint": "http://collector:4318"}
_LOW, _HIGH = "0" * 31 + "1", "0" * 16 + "f" * 16


def settings_with(**changes: Any) -> Settings:
    return Settings.of({**SETTINGS, **changes})


def options_with(**changes: Any) -> OtlpOptions:
    options = otlp_options(settings_with(**{**_ENDPOINT, **changes}))
    assert options is not None
    return options


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"otel_exporter_otlp_endpoint": ""},
        {**_ENDPOINT, "otel_sdk_disabled": "true"},
        {**_ENDPOINT, "otel_traces_exporter": "none"},
        {**_ENDPOINT, "otel_traces_exporter": "console"},
    ],
)
def test_spans_go_nowhere(changes: dict[str, str]):
    assert otlp_options(settings_with(**changes)) is None


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        (_ENDPOINT, "http://collector:4318/v1/traces"),
        ({"otel_exporter_otlp_endpoint": "https://c/otlp/"}, "https://c/otlp/v1/traces"),
        ({"otel_exporter_otlp_traces_endpoint": "https://c/mine"}, "https://c/mine"),
        ({**_ENDPOINT, "otel_exporter_otlp_traces_endpoint": "https://c/"}, "https://c/"),
        ({"otel_traces_exporter": "OTLP"}, "http://localhost:4318/v1/traces"),
        ({**_ENDPOINT, "otel_traces_exporter": "console, otlp"}, "http://collector:4318/v1/traces"),
    ],
)
def test_spans_go_to_the_collectors_url(changes: dict[str, str], url: str):
    options = otlp_options(settings_with(**changes))
    assert options is not None
    assert options.url == url


def test_defaults_are_those_of_the_specification():
    options = options_with()
    assert (options.timeout_s, options.delay_ms) == (10, 5000)
    assert (options.queue_size, options.batch_size) == (2048, 512)
    assert (options.headers, options.certificate, options.client_certificate) == ({}, None, None)
    assert options.verify
    assert not options.is_compressed


def test_variables_for_traces_win(tmp_path: Path):
    pem = str(loopback_certificate(tmp_path))
    other = str(shutil.copy(pem, tmp_path / "other.pem"))
    of_all = {
        "otel_exporter_otlp_headers": "a=1",
        "otel_exporter_otlp_timeout": "1000",
        "otel_exporter_otlp_certificate": pem,
        "otel_exporter_otlp_client_certificate": pem,
        "otel_exporter_otlp_client_key": pem,
        "otel_exporter_otlp_compression": "none",
    }
    options = options_with(**of_all)
    assert (options.headers, options.timeout_s, options.certificate) == ({"a": "1"}, 1, pem)
    assert options.client_certificate == (pem, pem)
    options = options_with(
        **of_all,
        otel_exporter_otlp_traces_headers="b=2",
        otel_exporter_otlp_traces_timeout="2500",
        otel_exporter_otlp_traces_certificate=other,
        otel_exporter_otlp_traces_client_certificate=other,
        otel_exporter_otlp_traces_client_key=other,
        otel_exporter_otlp_traces_compression="gzip",
    )
    assert (options.headers, options.timeout_s) == ({"b": "2"}, 2.5)
    assert (options.certificate, options.is_compressed) == (other, True)
    assert options.client_certificate == (other, other)


def test_headers_may_be_encoded_or_not():
    options = options_with(
        otel_exporter_otlp_headers="Authorization=Bearer%20a%2Cb, X-Scope=x=y ,api-key=Basic abc=="
    )
    assert options.headers == {
        "authorization": "Bearer a,b",
        "x-scope": "x=y",
        "api-key": "Basic abc==",
    }
    assert "Bearer" not in repr(options)


@pytest.mark.parametrize(
    "text", ["hush-hush", "=hush-hush", "a b=hush-hush", "a=hush%0Ahush", "a=hush%FF", "a=hüsh"]
)
def test_wrong_headers_are_rejected_and_not_quoted(text: str):
    with pytest.raises(ConfigurationError) as error:
        settings_with(otel_exporter_otlp_headers=text)
    assert "OTEL_EXPORTER_OTLP_HEADERS" in str(error.value)
    assert "sh" not in str(error.value).partition("OTEL_EXPORTER_OTLP_HEADERS")[2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("otel_exporter_otlp_endpoint", "collector:4318"),
        ("otel_exporter_otlp_timeout", "10s"),
        ("otel_exporter_otlp_timeout", "0"),
        ("otel_bsp_max_queue_size", "-1"),
        ("otel_resource_attributes", "nothing"),
        ("otel_exporter_otlp_certificate", "/no/such/file"),
        ("otel_exporter_otlp_certificate", __file__),
        ("otel_exporter_otlp_traces_client_key", "/no/such/file"),
        ("otel_sdk_disabled", "perhaps"),
    ],
)
def test_wrong_values_are_named(name: str, value: str):
    with pytest.raises(ConfigurationError, match=name.upper()):
        settings_with(**{name: value})


def test_a_batch_is_no_larger_than_the_queue():
    assert options_with(otel_bsp_max_queue_size="100").batch_size == 100


def test_the_service_has_a_name_and_a_version():
    name = settings_with().service_name
    assert options_with().resource == {"service.name": name, "service.version": VERSION}
    given = "service.name=one,deployment.environment.name=a%2Cb,service.version=7"
    resource = options_with(otel_resource_attributes=given).resource
    assert resource == {
        "service.name": "one",
        "service.version": "7",
        "deployment.environment.name": "a,b",
    }
    resource = options_with(otel_resource_attributes=given, otel_service_name="two").resource
    assert resource["service.name"] == "two"


@pytest.mark.parametrize(
    ("sampler", "argument", "new", "of_sampled", "of_unsampled"),
    [
        ("", "", (True, True), True, False),
        ("parentbased_always_on", "", (True, True), True, False),
        ("parentbased_always_off", "", (False, False), True, False),
        ("parentbased_traceidratio", "0.5", (True, False), True, False),
        ("always_on", "", (True, True), True, True),
        ("always_off", "", (False, False), False, False),
        ("traceidratio", "0", (False, False), False, False),
        ("traceidratio", "1.0", (True, True), True, True),
        # As the specification has it: a wrong argument counts as none.
        ("traceidratio", "half", (True, True), True, True),
        ("jaeger_remote", "endpoint=x", (True, True), True, False),
    ],
)
def test_samplers(
    sampler: str, argument: str, new: tuple[bool, bool], of_sampled: bool, of_unsampled: bool
):
    sampling = sampling_of(
        settings_with(otel_traces_sampler=sampler, otel_traces_sampler_arg=argument)
    )
    assert tuple(sampling.includes(each, parent_sampled=None) for each in (_LOW, _HIGH)) == new
    assert sampling.includes(_LOW, parent_sampled=True) is of_sampled
    assert sampling.includes(_LOW, parent_sampled=False) is of_unsampled


@pytest.mark.parametrize(
    ("variables", "warning"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL: only http/json"),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: only http/json",
        ),
        ({"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"}, "OTEL_EXPORTER_OTLP_COMPRESSION: only gzip"),
        ({"OTEL_TRACES_EXPORTER": "otlp,zipkin"}, "OTEL_TRACES_EXPORTER: only otlp"),
        ({"OTEL_TRACES_SAMPLER": "xray"}, "OTEL_TRACES_SAMPLER: unknown"),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
            "OTEL_TRACES_SAMPLER_ARG: not a number",
        ),
        ({"OTEL_PROPAGATORS": "b3"}, "OTEL_PROPAGATORS has no effect"),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, "OTEL_METRICS_EXPORTER has no effect"),
        ({"OTEL_BSP_EXPORT_TIMEOUT": "1"}, "OTEL_BSP_EXPORT_TIMEOUT has no effect"),
    ],
)
def test_what_has_no_effect_is_said(variables: dict[str, str], warning: str):
    settings = settings_with(**{name.lower(): value for name, value in variables.items()})
    [said] = ignored_variables(settings, variables.items())
    assert said.startswith(warning)


def test_what_has_an_effect_is_not_complained_of(tmp_path: Path):
    file = tmp_path / "headers"
    file.write_text("authorization=Bearer abc\n")
    variables = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_HEADERS_FILE": str(file),
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_PROPAGATORS": "",
        "PATH": "/bin",
    }
    settings = settings_with(**{name.lower(): value for name, value in variables.items()})
    assert list(ignored_variables(settings, variables.items())) == []
    options = otlp_options(settings)
    assert options is not None
    assert options.headers == {"authorization": "Bearer abc"}


def test_the_start_of_a_process_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("OTEL_PROPAGATORS", "b3")
    before = logging.getLogger().handlers[:]
    configure_logging(settings_with())
    logging.getLogger().handlers[:] = before
    assert "OTEL_PROPAGATORS has no effect" in capsys.readouterr().out
