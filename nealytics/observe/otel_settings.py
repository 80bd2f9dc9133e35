"""OpenTelemetry's environment variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and its relatives), checked.

The SDK reads these variables too, but rejects none. It traces every request if the sampler is misspelt, which
halves what a node can accept; it logs a header that it cannot parse, which may be a secret; it reads the
timeout in seconds instead of milliseconds; it ignores a protocol or a compression that it does not have.
Tests in `tests/observe/test_otlp_settings.py` show each, so a release of the SDK that does better is noticed.
Importing the SDK to find out whether it is needed would also take 0.3 s of every start.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from nealytics.errors import ConfigError

Signal = Literal["traces", "metrics"]

PROTOCOL = "http/protobuf"
TIMEOUT_MS = 10_000
INTERVAL_MS = 60_000
QUEUE_MAX = 2_048
BATCH_MAX = 512
# How long a stop waits for queued spans and the last metrics.
STOP_S = 2.0

# 24 days in milliseconds. Some longer times end a thread of the SDK.
NUMBER_MAX = 2**31 - 1

SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)
COMPRESSIONS = ("none", "gzip", "deflate")

# What the SDK accepts as a header: the characters of a name in HTTP, and visible ones without " , ; and \.
_HEADER = re.compile(r"[!#-'*+.\-0-9A-Z^-z|~]+[ \t]*=[ -!#-+\--:<-\[\]-~]*").fullmatch


@dataclass(frozen=True)
class Receiver:
    """Where one signal is sent."""

    endpoint: str
    timeout_s: float
    interval_s: float  # between two exports of metrics
    queue_max: int  # queued spans
    batch_max: int  # spans that are sent together

    @property
    def shown(self) -> str:
        """The endpoint without a password before its host and a key after its path."""
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{(parts.netloc + parts.path).rpartition('@')[2]}"


def receiver_of(signal: Signal, environ: Mapping[str, str] = os.environ) -> Receiver | None:
    """Reads the environment for one signal; None if it is off. Raises `ConfigError`."""
    exporter = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip() or "otlp"
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return None

    def setting(name: str) -> tuple[str, str]:
        """The variable that decides, and its value: the signal's own has precedence over the common one."""
        own, shared = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", f"OTEL_EXPORTER_OTLP_{name}"
        variable = own if environ.get(own, "").strip() else shared
        return variable, environ.get(variable, "").strip()

    variable, endpoint = setting("ENDPOINT")
    if not endpoint:
        return None
    if not _is_url(endpoint):
        shown = "***" if "?" in endpoint else endpoint.rpartition("@")[2]  # no password, no key
        raise ConfigError(f'otlp: {variable} is "{shown}"; write an address such as "http://collector:4318"')
    if variable == "OTEL_EXPORTER_OTLP_ENDPOINT":
        base, mark, query = endpoint.partition("?")
        endpoint = f"{base.rstrip('/')}/v1/{signal}{mark}{query}"
    if exporter != "otlp":
        raise ConfigError(
            f'otlp: OTEL_{signal.upper()}_EXPORTER is "{exporter}"; only "otlp" and "none" are supported'
        )
    variable, protocol = setting("PROTOCOL")
    if protocol not in ("", PROTOCOL):
        raise ConfigError(
            f'otlp: {variable} is "{protocol}", but only {PROTOCOL} is supported (usually on port '
            f"4318); set it to {PROTOCOL}, or remove it, and use that port in the endpoint"
        )
    _check_headers(*setting("HEADERS"))
    variable, compression = setting("COMPRESSION")
    if compression and compression.lower() not in COMPRESSIONS:
        raise ConfigError(f'otlp: {variable} is "{compression}"; write one of {", ".join(COMPRESSIONS)}')
    for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"):
        variable, file = setting(name)
        # As the SDK reads it, spaces included.
        if file and not os.access(environ[variable], os.R_OK):
            raise ConfigError(f'otlp: {variable} is "{environ[variable]}", which cannot be read')
    if signal == "traces":
        _check_sampler(environ.get("OTEL_TRACES_SAMPLER", ""), environ.get("OTEL_TRACES_SAMPLER_ARG", ""))

    def common(variable: str, default: int) -> int:
        return _number(variable, environ.get(variable, ""), default)

    queue_max = common("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_MAX)
    return Receiver(
        endpoint,
        # Milliseconds in the standard. The SDK would read seconds.
        timeout_s=_number(*setting("TIMEOUT"), TIMEOUT_MS) / 1000,
        interval_s=common("OTEL_METRIC_EXPORT_INTERVAL", INTERVAL_MS) / 1000,
        queue_max=queue_max,
        batch_max=min(common("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH_MAX), queue_max),
    )


def _check_headers(variable: str, text: str) -> None:
    """The message names the place of a bad header only, because its text may be secret."""
    for place, header in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        sent = unquote(header)
        if not (_HEADER(header) and sent.isascii() and sent.isprintable()):
            raise ConfigError(
                f"otlp: {variable} has no name=value in place {place}; write name=value,name=value, with "
                "special characters as in a URL (%20)"
            )


def _check_sampler(sampler: str, argument: str) -> None:
    if sampler and sampler.lower() not in SAMPLERS:
        raise ConfigError(f'otlp: OTEL_TRACES_SAMPLER is "{sampler}"; write one of {", ".join(SAMPLERS)}')
    if sampler.lower().endswith("traceidratio") and argument:
        try:
            fits = 0 <= float(argument) <= 1
        except ValueError:
            fits = False
        if not fits:
            raise ConfigError(
                f'otlp: OTEL_TRACES_SAMPLER_ARG is "{argument}"; write a share of all traces from 0 to 1, as '
                "0.01"
            )


def _number(variable: str, text: str, default: int) -> int:
    text = text.strip()
    if not text:
        return default
    # Its length first: Python refuses to convert thousands of digits.
    if not (text.isdecimal() and len(text) <= len(str(NUMBER_MAX)) and 0 < int(text) <= NUMBER_MAX):
        raise ConfigError(
            f'otlp: {variable} is "{text}"; write a whole number from 1 to {NUMBER_MAX}, as {default}'
        )
    return int(text)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        return fits and text.isprintable() and " " not in text
    except ValueError:  # the port is no number, or a bracket is missing
        return False
