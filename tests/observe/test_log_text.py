"""The log at a terminal is for people; elsewhere it is JSON. What a client sends moves no cursor."""

import json
import logging
import os
import pty
import subprocess
import sys

import pytest

from nealytics.observe.log import TextFormatter
from nealytics.observe.log_text import text_of
from tests.observe.test_log import CANARY

LINE: dict[str, object] = {
    "ts": "2026-11-22T14:35:07.123Z",
    "level": "warning",
    "logger": "nealytics.commit",
    "message": "commit: 812 rows moved to dead-letter",
    "worker": 0,
    "lsn": 40960,
}


def text(**fields: object) -> str:
    return text_of(LINE | fields, colours=False)


def test_time_level_message_and_the_other_fields_stand_in_one_line():
    assert (
        text()
        == "2026-11-22T14:35:07.123Z WARNING  commit: 812 rows moved to dead-letter  worker=0 lsn=40960"
    )
    assert text(level="critical").startswith("2026-11-22T14:35:07.123Z CRITICAL commit")
    plain = {name: LINE[name] for name in ("ts", "level", "logger", "message")}
    assert text_of(plain, colours=False).endswith("WARNING  commit: 812 rows moved to dead-letter")


def test_values_are_quoted_where_their_end_would_be_unclear():
    fields = text(a="two words", b="", c='x="y"', d=None, e=True, f=[1, "b"], g={"k": 1.5}, h="café")
    assert fields.endswith(r'a="two words" b="" c="x=\"y\"" d=null e=true f=[1, "b"] g={"k": 1.5} h=café')


def test_the_logger_is_named_if_it_is_not_our_own():
    assert text(logger="aiohttp.server").endswith("  logger=aiohttp.server worker=0 lsn=40960")


def test_a_traceback_is_an_indented_block():
    assert text(exception="Traceback:\n  File x\nValueError: y").splitlines()[1:] == [
        "    Traceback:",
        "      File x",
        "    ValueError: y",
    ]


@pytest.mark.parametrize("where", ["message", "request_id"])
def test_what_a_client_sends_neither_ends_the_line_nor_moves_the_cursor(where: str):
    line = text(**{where: "a\nb\rc\x1b[2Jd\u2028e\x9b1Jf\ud800"})
    assert r"a\nb\rc\x1b[2Jd\u2028e\x9b1Jf\ud800" in line
    assert line.isprintable()


def test_colours_change_nothing_but_the_colour():
    coloured = text_of(LINE, colours=True)
    assert "\x1b[33mWARNING \x1b[0m" in coloured
    for code in ("33", "2", "0"):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == text()


def test_secrets_are_masked_as_in_json():
    record = logging.makeLogRecord({"name": "nealytics.x", "levelname": "INFO", "msg": f"it is {CANARY}"})
    record.api_key = "0123"
    line = TextFormatter((CANARY,), {"worker": 1}, colours=False).format(record)
    assert line.endswith("INFO     it is ***  worker=1 api_key=***")


def logged(log_format: str, *, terminal: bool, **environment: str) -> str:
    """What a process writes to stderr."""
    program = (
        "import logging, sys; from nealytics.observe import log; log.setup('info', sys.argv[1]);"
        " logging.getLogger('nealytics').warning('hello')"
    )
    reading, writing = pty.openpty() if terminal else os.pipe()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", **environment}
    command = [sys.executable, "-c", program, log_format]
    subprocess.run(command, stderr=writing, env=environment, cwd=os.getcwd(), check=True, timeout=60)
    said = os.read(reading, 65_536).decode()
    os.close(reading)
    os.close(writing)
    return said


@pytest.mark.parametrize(
    ("log_format", "terminal", "environment", "form"),
    [
        ("auto", False, {}, "json"),
        ("auto", True, {}, "coloured"),
        ("auto", True, {"NO_COLOR": "1"}, "text"),
        ("auto", True, {"TERM": "dumb"}, "text"),
        ("text", False, {}, "text"),
        ("text", True, {}, "coloured"),
        ("json", True, {}, "json"),
    ],
)
def test_auto_is_text_on_a_terminal_and_json_elsewhere(
    log_format: str, terminal: bool, environment: dict[str, str], form: str
):
    said = logged(log_format, terminal=terminal, **environment)
    if form == "json":
        assert json.loads(said)["message"] == "hello"
    else:
        assert said.rstrip().endswith("hello")
        assert ("\x1b[" in said) == (form == "coloured")
