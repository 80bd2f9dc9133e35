"""The dashboard in WebKit, the engine of Safari: GTK's MiniBrowser, driven by WebDriver on a screen of its own.

Skipped where these are not installed.
"""

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Site
from tests.browser.test_dashboard import ACME, DASHBOARD, chosen, number, today
from tests.browser.test_firefox import CLICK, SHOWN
from tests.ports import free_port
from tests.waiting import until, while_running

DRIVER, SCREEN = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
BROWSER = next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), None)

pytestmark = pytest.mark.skipif(
    None in (DRIVER, SCREEN, BROWSER),
    reason="needs WebKit and a screen; on Debian: apt-get install webkit2gtk-driver xvfb",
)

# WebDriver tells nothing of the console.
WATCHED = """
  window.problems = [];
  addEventListener("error", (event) => problems.push(String(event.message)));
  for (const level of ["error", "warn"]) console[level] = (...text) => problems.push(text.join(" "));
"""


@contextmanager
def screen() -> Iterator[str]:
    """The name of a display."""
    name, written = os.pipe()
    command = [str(SCREEN), "-displayfd", str(written), "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[written], stderr=subprocess.DEVNULL) as process:
        os.close(written)
        with os.fdopen(name) as told:
            yield f":{told.readline().strip()}"
        process.terminate()


class Tab:
    def __init__(self, address: str) -> None:
        self._address = address

    def call(self, method: str, path: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self._address + path, data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def evaluate(self, expression: str) -> Any:
        return self.call("POST", "/execute/sync", script=f"return {expression}", args=[])

    def shown(self, events: int) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def is_shown() -> bool:
            found.update(json.loads(self.evaluate(SHOWN)))
            return number(found["events"] or "-1") == events and found["rows"] and found["lines"]

        until(is_shown, more=lambda: f"not {events}: {found}, {self.evaluate('window.problems')}")
        return found


@contextmanager
def webkit(home: Path) -> Iterator[Tab]:
    port = free_port()
    with screen() as display, (home / "webkit.log").open("wb") as log:
        environ = {**os.environ, "DISPLAY": display, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
        environ |= {"TZ": "Europe/Berlin", "LANG": "C.UTF-8", "NO_AT_BRIDGE": "1"}
        command = [str(DRIVER), f"--port={port}", "--host=127.0.0.1"]
        with subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process:
            try:
                yield Tab(_session(f"http://127.0.0.1:{port}", process, home / "webkit.log"))
            finally:
                process.terminate()


def _session(address: str, process: subprocess.Popen[bytes], log: Path) -> str:
    options = {"webkitgtk:browserOptions": {"binary": str(BROWSER), "args": ["--automation"]}}

    def session() -> str:
        try:
            session = Tab(address).call("POST", "/session", capabilities={"alwaysMatch": options})
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.read()!r}, {log.read_text()}") from None
        return f"{address}/session/{session['sessionId']}"

    # A URLError means that it does not listen yet.
    return until(
        session, pause=while_running(process, log), errors=(urllib.error.URLError,), more=log.read_text
    )


def test_the_dashboard_shows_its_numbers_and_takes_a_click_in_webkit(site: Site, tmp_path: Path):
    month = chosen(site, today() - timedelta(days=29), today())
    with webkit(tmp_path) as tab:
        tab.call("POST", "/url", url=site.page(DASHBOARD, script=WATCHED + ACME))
        found = tab.shown(len(month))
        assert found["wide"] <= 0
        assert found["lines"] > 1
        name = tab.evaluate(CLICK.replace(".click()", '.querySelector(".key").textContent.trim()'))
        tab.evaluate(CLICK)
        tab.shown(sum(event["eventType"] == name for event in month))
        assert tab.evaluate("window.problems") == []
        tab.call("DELETE", "")
