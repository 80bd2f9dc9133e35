"""Logs are JSON lines, and a secret that someone sends or configures is in none of them."""

import asyncio
import io
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from nealytics.observe import log as observe_log
from nealytics.observe.log import REPEAT_WINDOW_S, REPEATS_MAX, JsonFormatter, RepeatFilter, clean

CANARY = "cAnArY-0123456789_~abc"


class Stderr:
    """What was written to stderr so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def stderr(capsys) -> Iterator[Stderr]:
    """Everything that `setup` changes is put back afterwards."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    levels = {name: logging.getLogger(name).level for name in ("aiohttp.access", "asyncio")}
    yield Stderr(capsys)
    root.handlers[:], sys.excepthook, threading.excepthook = before[0], before[2], before[3]
    root.setLevel(before[1])
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(False)


def lines(stderr: Stderr) -> list[dict[str, object]]:
    return [json.loads(line) for line in stderr.getvalue().splitlines()]


def formatted(
    message: str, *args: object, secrets: tuple[str, ...] = (), **extra: object
) -> dict[str, object]:
    record = logging.makeLogRecord(
        {"name": "nealytics.x", "levelname": "INFO", "msg": message, "args": args, **extra}
    )
    line = JsonFormatter(secrets).format(record)
    assert "\n" not in line
    return json.loads(line)


# The form of a line


def test_a_record_is_one_line_of_json_with_its_extra_fields(stderr):
    observe_log.setup("info", worker=3)
    logging.getLogger("nealytics.commit").warning(
        "commit: %d rows\nwait", 7, extra={"lsn": 12, "range": (1, 2)}
    )
    (line,) = lines(stderr)
    assert line["message"] == "commit: 7 rows\nwait"
    assert (line["level"], line["logger"], line["worker"]) == ("warning", "nealytics.commit", 3)
    assert (line["lsn"], line["range"]) == (12, [1, 2])
    assert str(line["ts"])[-1] == "Z"
    assert len(str(line["ts"])) == len("2026-11-22T14:35:07.123Z")


def test_an_exception_is_a_text_in_the_same_line(stderr):
    observe_log.setup()
    try:
        raise ValueError("the reason")
    except ValueError:
        logging.getLogger("nealytics").exception("it failed")
    (line,) = lines(stderr)
    assert "Traceback" in str(line["exception"])
    assert "ValueError: the reason" in str(line["exception"])


def test_the_level_is_the_lowest_that_is_shown(stderr):
    observe_log.setup("warning")
    logging.getLogger("nealytics").info("not this")
    logging.getLogger("nealytics").warning("this")
    assert [line["message"] for line in lines(stderr)] == ["this"]


def test_what_json_cannot_hold_does_not_stop_a_line():
    class Angry:
        def __str__(self) -> str:
            raise RuntimeError

    line = formatted("half a pair \ud800 of %s", b"\xff", ratio=float("nan"), thing=Angry(), at={1: object})
    assert line["message"] == "half a pair \ud800 of b'\\xff'"
    assert line["ratio"] == "nan"
    assert line["thing"] == "<unprintable Angry>"


def test_arguments_that_do_not_fit_do_not_lose_the_message():
    assert formatted("%d rows", "many")["message"] == "%d rows (its arguments do not match)"


def test_setting_up_again_does_not_double_the_lines(stderr):
    observe_log.setup()
    observe_log.setup()
    logging.getLogger("nealytics").info("once")
    assert len(lines(stderr)) == 1


def test_an_uncaught_error_of_any_thread_is_a_line_too(stderr):
    observe_log.setup()
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    sys.excepthook(ValueError, ValueError("x"), None)
    assert [line["level"] for line in lines(stderr)] == ["critical", "critical"]


def test_requests_are_not_logged_one_by_one(stderr):
    observe_log.setup("debug")
    logging.getLogger("aiohttp.access").info("127.0.0.1 GET /health")
    assert lines(stderr) == []


# Secrets, told by their place

PLACES = [
    "GET /api/v1/telemetry/track?k={} HTTP/1.1",
    "GET /api/v1/telemetry/track?%4B={} HTTP/1.1",
    "GET /t?a=1&k={}&b=2 HTTP/1.1",
    "GET /t?a=1;k={}",
    "b'GET /t?k={} HTTP/1.1\\r\\nHost: x'",
    "/t?%6B={}",
    "/t?k%3D{}",
    "https://x/redirect?to=%2Ft%3Fk%3D{}%26x%3D1",
    'Referer: "https://shop.example/t?k={}"',
    "X-Project-Key: {}",
    "x-project-key:{}",
    "b'X-Project-Key: {}\\r\\nHost: x'",
    "{{'X-Project-Key': '{}', 'Host': 'x'}}",
    "((b'X-Project-Key', b'{}'), (b'Host', b'x'))",
    "<CIMultiDictProxy('X-Project-Key': '{}')>",
    "Authorization: Bearer {}",
    "authorization: {}",
    "('Authorization', 'Bearer {}')",
    "{{'X-ClickHouse-Key': '{}'}}",
    "Bearer {}",
    "token eyJhbGciOiJIUzI1NiJ9.eyJwIjoi{}.sig",
    "http://default:{}@clickhouse:8123/",
    "clickhouse.password={}",
    "password: '{}'",
    '"embedded_password": "{}"',
    "Host=h;Password={};User=u",
    "AuthConfig(jwt_key='{}')",
    "jwt_key_previous = {}",
    "TelemetryEngine__JwtSymmetricKey={}",
    "TelemetryEngine__AllowedProjectKeys={}",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_struck_by_its_place(place):
    text = place.format(CANARY)
    assert CANARY not in clean(text)
    assert "***" in clean(text)


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_struck_in_arguments_fields_and_exceptions(place):
    text = place.format(CANARY)
    error = ValueError(text)
    error.__cause__ = OSError(text)
    line = formatted(
        "failed: %s",
        text,
        where=text,
        all=[text],
        by={"name": text},
        exc_info=(ValueError, error, None),
        stack_info=text,
    )
    assert CANARY not in json.dumps(line)


def test_a_repr_of_bytes_as_an_argument_is_cleaned():
    assert CANARY not in json.dumps(formatted("bad line %r", f"GET /t?k={CANARY} HTTP/1.1".encode()))


def test_a_field_that_is_named_like_a_secret_is_struck_whatever_it_holds():
    line = formatted(
        "x", password=CANARY, jwt_key=CANARY, headers={"X-Project-Key": CANARY, "Host": "h"}, key_index=3
    )
    assert CANARY not in json.dumps(line)
    assert line["headers"] == {"X-Project-Key": "***", "Host": "h"}
    assert line["key_index"] == 3


@pytest.mark.parametrize(
    "text",
    [
        "commit: batch 40960-90112 rejected (code 27, cannot parse input); 812 rows moved to dead-letter",
        'config: clickhouse.url is "localhost:8123" and has no scheme; write "http://localhost:8123"',
        "auth: no API keys are configured, so every ingest request gets 401; add one under [[auth.api_keys]]",
        "GET /api/v1/telemetry/timeline?limit=50&eventType=click HTTP/1.1",
        "serve: basic settings, bearer of news",
    ],
)
def test_ordinary_messages_stay_as_they_are(text):
    assert clean(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        "a-",
        "eyJ-",
        "eyJa.",
        "bearer ",
        "password",
        "password=",
        "password='",
        "?k=",
        "://",
        "authorization:",
        "=",
        " ",
        "k%3",
    ],
)
def test_cleaning_takes_time_in_proportion_to_the_text(piece):
    """A client decides what is in some messages; it must not be able to stop the loop with one."""
    text = piece * (30_000 // len(piece))
    started = time.thread_time()  # of the processor, whatever else the machine does
    clean(text)
    clean("password=" + text)
    assert time.thread_time() - started < 0.5


# Secrets, told by their value


@pytest.mark.parametrize("secret", ["plain-secret", "with space & % /", "quote'and\"both\\", "ümläut-secret"])
def test_a_configured_secret_is_struck_wherever_and_however_it_is_written(secret):
    forms = [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote(secret).lower(),
        repr(secret),
        repr(secret.encode()),
    ]
    for form in [*forms, json.dumps(secret)]:
        line = json.dumps(formatted("it was %s, there", form, secrets=(secret,)), ensure_ascii=False)
        assert "it was " in line
        assert "secret" not in line.replace("it was", "")
        assert form not in json.loads(line)["message"]


def test_a_configured_secret_that_is_a_common_word_is_left_alone():
    assert formatted("user default", secrets=("default",))["message"] == "user default"


def test_a_stream_that_fails_does_not_make_logging_print_the_arguments(stderr):
    """logging's own answer to an error in a handler is a traceback with the raw message on stderr."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("no space left")

    observe_log.setup()
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(Full())
    logging.getLogger("nealytics").error("it was %s", CANARY)
    assert stderr.getvalue() == ""


# aiohttp's own errors, made by aiohttp


async def raw_request(request: bytes, chunks: int = 1) -> None:
    app = web.Application()
    server = TestServer(app, access_log=None)
    await server.start_server()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    size = -(-len(request) // chunks)
    try:
        for start in range(0, len(request), size):
            writer.write(request[start : start + size])
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 5)
    except OSError:
        pass  # the server has hung up, as it should
    finally:
        writer.close()
        await server.close()


MALFORMED = {
    "not a method": b"G\xffT /t?k=%s HTTP/1.1\r\nHost: x\r\n\r\n",
    "a character no URL has": b"GET /t?k=%s\x01\x02 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown version": b"GET /t?k=%s HTTP/9.9\r\nHost: x\r\n\r\n",
    "a line too long": b"GET /t?k=%s" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header too long": b"GET / HTTP/1.1\r\nX-Project-Key: %s" + b"x" * 20_000 + b"\r\n\r\n",
    "a bad header": b"GET / HTTP/1.1\r\nX-Project-Key : %s\r\n\r\n",
    "a header with NUL": b"GET / HTTP/1.1\r\nX-Project-Key: %s\x00\r\n\r\n",
    "two lengths": b"POST /t?k=%s HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "no HTTP at all": b"%s\r\n\r\n",
}


@pytest.mark.parametrize("chunks", [1, 7], ids=["at once", "in pieces"])
@pytest.mark.parametrize("name", MALFORMED)
async def test_a_request_that_is_not_http_leaves_no_piece_of_its_key_in_the_log(stderr, name, chunks):
    observe_log.setup("debug")
    await raw_request(MALFORMED[name].replace(b"%s", CANARY.encode()), chunks)
    written = stderr.getvalue()
    for start in range(len(CANARY) - 5):
        assert CANARY[start : start + 6] not in written


async def test_the_malformed_requests_above_do_make_aiohttp_log_the_key(caplog):
    """The test of the tests: without our formatter, the canary is there."""
    with caplog.at_level(logging.DEBUG):
        await raw_request(MALFORMED["not a method"].replace(b"%s", CANARY.encode()))
    assert CANARY in caplog.text


async def test_an_error_in_a_handler_is_logged_without_the_request(stderr):
    observe_log.setup()

    async def fail(request: web.Request) -> web.Response:
        raise RuntimeError(f"cannot handle {request.rel_url} {request.headers!r} {request.raw_headers!r}")

    app = web.Application()
    app.router.add_get("/t", fail)
    server = TestServer(app, access_log=None)
    await server.start_server()
    try:
        async with aiohttp.ClientSession() as session:
            headers = {"X-Project-Key": CANARY, "Authorization": f"Bearer {CANARY}"}
            async with session.get(server.make_url(f"/t?k={CANARY}"), headers=headers) as answer:
                assert answer.status == 500
    finally:
        await server.close()
    (line,) = lines(stderr)
    assert "RuntimeError: cannot handle" in str(line["exception"])
    assert CANARY not in json.dumps(line)


# Repeats


def test_the_same_message_again_and_again_is_cut_and_counted():
    now = [0.0]
    repeats = RepeatFilter(clock=lambda: now[0])

    def passes(message: str = "retry %d", level: int = logging.WARNING) -> logging.LogRecord | None:
        record = logging.makeLogRecord({"name": "n", "levelno": level, "msg": message})
        return record if repeats.filter(record) else None

    assert sum(passes() is not None for _ in range(REPEATS_MAX + 5)) == REPEATS_MAX
    assert passes("another") is not None
    assert passes(level=logging.CRITICAL) is not None
    now[0] += REPEAT_WINDOW_S
    first = passes()
    assert first is not None
    assert first.__dict__["suppressed"] == 5
    second = passes()
    assert second is not None
    assert "suppressed" not in second.__dict__


def test_messages_that_are_all_different_do_not_fill_the_memory():
    now = [0.0]
    repeats = RepeatFilter(clock=lambda: now[0])
    for i in range(5_000):
        now[0] += 1
        repeats.filter(logging.makeLogRecord({"name": "n", "levelno": logging.ERROR, "msg": f"message {i}"}))
    assert len(repeats._seen) <= 1_001
