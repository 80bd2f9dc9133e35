"""How spans and metrics get to the receiver, and what is logged if they do not."""

import http.client
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import requests
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.version import __version__ as sdk_version

from nealytics import __version__
from nealytics.observe.otel_settings import Receiver

log = logging.getLogger("nealytics.otlp")

REPORT_EVERY_S = 60.0


def resource(port: int, worker: int | None = None) -> Resource:
    """The sender. OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME have precedence."""
    host = socket.gethostname()
    return Resource(
        {
            "service.name": "nealytics",
            "service.version": __version__,
            "service.instance.id": f"{host}:{port}",
            "host.name": host,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": sdk_version,
            **({} if worker is None else {"nealytics.worker": worker}),
        }
    ).merge(OTELResourceDetector().detect())


class Delivery:
    """Logs that a signal does not arrive, at most once a minute, and then that it arrives again."""

    def __init__(self, signal: str, receiver: Receiver) -> None:
        self.session = _Session()
        self._signal = signal
        self._endpoint = receiver.shown
        self._failures = 0
        self._is_reported = False
        self._next_report_at = 0.0

    def report(self, delivered: bool, consequence: str) -> None:
        if delivered:
            if self._is_reported:
                log.warning(
                    "otlp: sending %s to %s works again, after %d failures",
                    self._signal,
                    self._endpoint,
                    self._failures,
                )
                self._failures, self._is_reported = 0, False
            return
        self._failures += 1
        now = time.monotonic()
        if now >= self._next_report_at:
            self._next_report_at = now + REPORT_EVERY_S
            self._is_reported = True
            grpc = "; 4317 is the gRPC port, try 4318" if ":4317/" in self._endpoint else ""
            log.warning(
                "otlp: cannot send %s to %s: %s%s; %s",
                self._signal,
                self._endpoint,
                self.session.outcome,
                grpc,
                consequence,
            )


class _Session(requests.Session):
    """Remembers how the last attempt ended. The SDK only logs it, and not always."""

    outcome = "nothing was sent"

    def request(self, *args: Any, **options: Any) -> requests.Response:
        try:
            response = super().request(*args, **options)
        except Exception as error:
            # The error's text may quote the endpoint, and so a password, so the SDK gets another error. It
            # retries after errors of the connection only.
            self.outcome = _why(error)
            is_transient = isinstance(error, requests.ConnectionError | requests.Timeout)
            kind = requests.ConnectionError if is_transient else requests.RequestException
            raise kind(self.outcome) from None
        # Not the receiver's own reason, which may be any text.
        reason = http.client.responses.get(response.status_code, "")
        self.outcome = f"it answered {response.status_code} {reason}"
        if response.is_redirect:
            # The SDK would report a success.
            raise requests.TooManyRedirects(self.outcome)
        return response

    def merge_environment_settings(self, *args: Any, **options: Any) -> Any:
        """Trusts the authorities of OTEL_EXPORTER_OTLP_CERTIFICATE, or else those of this machine, as every
        other connection of a node does. `requests` would use its own, and prefer CURL_CA_BUNDLE to the
        variables for OTLP."""
        settings = super().merge_environment_settings(*args, **options)
        if self.verify is not True:
            settings["verify"] = self.verify
        elif settings["verify"] is True:
            places = ssl.get_default_verify_paths()
            settings["verify"] = places.cafile or places.capath or True
        return settings


def _why(error: BaseException) -> str:
    """The kind of an error, and what the operating system or TLS says about it; never its own text, which
    may quote the endpoint."""
    kind = type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException) and cause.strerror:
            return f"{kind}: {cause.strerror}"
        kind_of_cause = type(cause).__name__
        cause = cause.__cause__ or cause.__context__
    return kind if kind == kind_of_cause else f"{kind}: {kind_of_cause}"


def quiet() -> None:
    """Silences the SDK, which logs each failed attempt, each span that does not fit into the queue, each bad
    header of a client, and our own headers with their values; and urllib3, which logs each request with its
    query on level debug. `Delivery` and a metric report instead."""
    for name in ("exporter", "sdk._shared_internal", "trace", "util"):
        logging.getLogger(f"opentelemetry.{name}").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)


def bounded(work: Callable[[], object], abort: Callable[[], object], timeout_s: float) -> None:
    """Does `work` in a thread that does not keep the process alive; calls `abort` after `timeout_s`."""
    thread = threading.Thread(target=work, name="otlp-stop", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        abort()
