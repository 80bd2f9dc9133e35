"""OpenTelemetry's variables: what they say about each signal, and what is said about those of no use."""

import logging

import pytest
from opentelemetry.exporter.otlp.common.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider, sampling

from nealytics.errors import ConfigError
from nealytics.observe import otel
from nealytics.observe.metrics import Metrics
from nealytics.observe.otel_settings import COMPRESSIONS, SAMPLERS, Receiver, receiver_of
from nealytics.observe.otel_signals import start_tracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
METRICS = "http://collector:4318/v1/metrics"
ONLY_HTTP = (
    "but only http/protobuf is supported (usually on port 4318); set it to http/protobuf, or remove it, and "
    "use that port in the endpoint"
)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SERVICE_NAME": "shop", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "true"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": " True "},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": " none "},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318/v1/metrics"},
    ],
)
def test_without_an_endpoint_or_when_switched_off_there_are_no_traces(environ: dict[str, str]):
    assert receiver_of("traces", environ) is None


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        (ENDPOINT, METRICS),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp/"}, "https://c/otlp/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " HTTP://[::1]:4318 "}, "HTTP://[::1]:4318/v1/metrics"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": "a=Bearer%20x,b=Basic YQ==, c=1 ,"}, METRICS),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:1/write"}, "http://m:1/write"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:1/write"}, "http://m:1/write"),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, METRICS),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, METRICS),
        ({**ENDPOINT, "OTEL_METRICS_EXPORTER": " otlp "}, METRICS),
        # Of the other signal.
        ({**ENDPOINT, "OTEL_TRACES_SAMPLER": "sometimes"}, METRICS),
        # A key in the query stays behind the path.
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp/?key=a/b"}, "https://c/otlp/v1/metrics?key=a/b"),
    ],
)
def test_the_endpoint_of_a_signal_is_its_own_or_below_the_common_one(environ: dict[str, str], endpoint: str):
    receiver = receiver_of("metrics", environ)
    assert receiver is not None
    assert receiver.endpoint == endpoint


def test_times_are_milliseconds_and_the_signal_s_own_go_first():
    environ = {
        **ENDPOINT,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3000",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "1500",
        "OTEL_METRIC_EXPORT_INTERVAL": " 5000 ",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100\t",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": " ",
    }
    assert receiver_of("traces", environ) == Receiver("http://collector:4318/v1/traces", 3.0, 5.0, 100, 100)
    assert receiver_of("metrics", environ) == Receiver("http://collector:4318/v1/metrics", 1.5, 5.0, 100, 100)
    assert receiver_of("traces", ENDPOINT) == Receiver(
        "http://collector:4318/v1/traces", 10.0, 60.0, 2048, 512
    )


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
            'otlp: OTEL_EXPORTER_OTLP_ENDPOINT is "collector:4318"; write an address such as "http://collector:4318"',
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "me:secret@collector:4318"},
            'otlp: OTEL_EXPORTER_OTLP_ENDPOINT is "collector:4318"; write an address such as "http://collector:4318"',
        ),
        *(
            (
                {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": address},
                f'otlp: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is "{address}"; write an address such as '
                '"http://collector:4318"',
            )
            for address in (
                "http://",
                "http://[::1",
                "http://c:port",
                "http://c:0",
                "grpc://c:4317",
                "http://c d:4318",
            )
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318?key=SECRET"},
            'otlp: OTEL_EXPORTER_OTLP_ENDPOINT is "***"; write an address such as "http://collector:4318"',
        ),
        *(
            (
                {**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": headers},
                "otlp: OTEL_EXPORTER_OTLP_HEADERS has no name=value in place 2; write name=value,name=value, "
                "with special characters as in a URL (%20)",
            )
            for headers in (
                "a=1,x-team:SECRET",
                "a=1, x-team=SECRET é",
                "a=1,x=SECRET%0a2",
                "a=1,x=%C3%A9",
                "a=1,=2",
            )
        ),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            f'otlp: OTEL_EXPORTER_OTLP_PROTOCOL is "grpc", {ONLY_HTTP}',
        ),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            f'otlp: OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is "http/json", {ONLY_HTTP}',
        ),
        (
            {**ENDPOINT, "OTEL_TRACES_EXPORTER": "zipkin"},
            'otlp: OTEL_TRACES_EXPORTER is "zipkin"; only "otlp" and "none" are supported',
        ),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_TIMEOUT": "10s"},
            'otlp: OTEL_EXPORTER_OTLP_TIMEOUT is "10s"; write a whole number from 1 to 2147483647, as 10000',
        ),
        (
            {**ENDPOINT, "OTEL_BSP_MAX_QUEUE_SIZE": "0"},
            'otlp: OTEL_BSP_MAX_QUEUE_SIZE is "0"; write a whole number from 1 to 2147483647, as 2048',
        ),
        *(
            (
                {**ENDPOINT, "OTEL_METRIC_EXPORT_INTERVAL": digits},
                f'otlp: OTEL_METRIC_EXPORT_INTERVAL is "{digits}"; write a whole number from 1 to '
                "2147483647, as 60000",
            )
            # A thread cannot wait so long; Python makes no number of so many digits.
            for digits in ("2147483648", "9" * 5_000)
        ),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"},
            'otlp: OTEL_EXPORTER_OTLP_COMPRESSION is "zstd"; write one of none, gzip, deflate',
        ),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": "/no/such/file"},
            'otlp: OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE is "/no/such/file", which cannot be read',
        ),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/no/such/file"},
            'otlp: OTEL_EXPORTER_OTLP_CLIENT_KEY is "/no/such/file", which cannot be read',
        ),
        (
            {**ENDPOINT, "OTEL_TRACES_SAMPLER": "traceidratoi"},
            'otlp: OTEL_TRACES_SAMPLER is "traceidratoi"; write one of always_on, always_off, traceidratio, '
            "parentbased_always_on, parentbased_always_off, parentbased_traceidratio",
        ),
        *(
            (
                {
                    **ENDPOINT,
                    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                    "OTEL_TRACES_SAMPLER_ARG": share,
                },
                f'otlp: OTEL_TRACES_SAMPLER_ARG is "{share}"; write a share of all traces from 0 to 1, as '
                "0.01",
            )
            for share in ("1%", "10", "-0.1", "nan", "0,01")
        ),
    ],
)
def test_an_unusable_setting_is_reported_with_what_to_do(environ: dict[str, str], message: str):
    with pytest.raises(ConfigError) as raised:
        receiver_of("traces", environ)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "environ",
    [
        *({"OTEL_TRACES_SAMPLER": sampler} for sampler in SAMPLERS),
        {"OTEL_TRACES_SAMPLER": "TraceIdRatio", "OTEL_TRACES_SAMPLER_ARG": "0.01"},
        {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_TRACES_SAMPLER_ARG": "of another sampler"},
        {"OTEL_EXPORTER_OTLP_COMPRESSION": " GZIP "},
        {"OTEL_EXPORTER_OTLP_CERTIFICATE": __file__},
    ],
)
def test_what_the_sdk_understands_is_not_refused(environ: dict[str, str]):
    assert receiver_of("traces", ENDPOINT | environ) is not None


def test_the_samplers_and_compressions_are_those_of_the_sdk():
    """It does not say which ones it has but by these names of its own."""
    assert set(SAMPLERS) == set(sampling._KNOWN_SAMPLERS)
    assert set(COMPRESSIONS) == {one.value for one in Compression}


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("http://collector:4318/v1/traces", "http://collector:4318/v1/traces"),
        ("https://me:se@cret@collector/v1/traces", "https://collector/v1/traces"),
        ("https://collector/v1/traces?key=secret&from=me@here", "https://collector/v1/traces"),
        ("https://me:1/secret@collector/v1/traces", "https://collector/v1/traces"),
    ],
)
def test_what_is_shown_of_an_endpoint_has_no_password_and_no_key(endpoint: str, shown: str):
    assert Receiver(endpoint, 1.0, 1.0, 1, 1).shown == shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        # Only the SDK sees this one.
        {"OTEL_BSP_SCHEDULE_DELAY": "-1"},
    ],
)
def test_a_wrong_setting_switches_the_signal_off_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: dict[str, str]
):
    for name, value in (ENDPOINT | wrong).items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.ERROR):
        assert start_tracing(Metrics.private(), port=5000, worker=0) is None
    assert "no traces are sent" in caplog.text


def test_outside_of_a_span_there_is_nothing_to_note_it_on():
    assert otel.current() is None
    otel.note("neavents.project_id", "shop")
    otel.record(ValueError())
    otel.fail("x")


# Why the variables are checked here: what the SDK does with wrong ones.


def test_the_sdk_traces_every_request_if_the_sampler_is_misspelt(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidration")
    sampler = TracerProvider().sampler
    assert all(
        sampler.should_sample(None, trace_id, "x").decision is sampling.Decision.RECORD_AND_SAMPLE
        for trace_id in range(1, 1 << 120, 1 << 113)
    )


def test_the_sdk_logs_a_header_that_it_cannot_parse(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization secret")
    with caplog.at_level(logging.WARNING, logger="opentelemetry.util.re"):
        OTLPSpanExporter("http://collector:4318/v1/traces")
    assert "authorization secret" in caplog.text


def test_the_sdk_reads_the_timeout_in_seconds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "10000")
    assert OTLPSpanExporter("http://collector:4318/v1/traces")._client._timeout == 10_000


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli")],
)
def test_the_sdk_ignores_a_protocol_or_compression_that_it_does_not_have(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
):
    monkeypatch.setenv(variable, value)
    OTLPSpanExporter("http://collector:4318/v1/traces")
