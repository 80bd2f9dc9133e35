"""The unmodified SDKs of Segment, RudderStack and PostHog before a real node.

`scripts/test.sh` installs them: `tests/compat/senders/` has their versions. All cases of an SDK run in one
process at the same time, each with a key and a tenant of its own, through a proxy that does to the requests
what the case says. In the last case, the whole node is killed when it has stored the events and nobody has
heard of it.
"""

import contextlib
import functools
import http.server
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nealytics.commit.rejected import read
from tests.browser.conftest import _FLAGS, CHROMIUM
from tests.e2e.node import KEY, Node
from tests.fakes.faulty_proxy import Exchange, Fault, FaultyProxy, fails
from tests.waiting import until

SENDERS = Path(__file__).parent / "senders"
TOOLS = Path(sys.prefix) / "tools" / "senders"
PYTHON = TOOLS / "bin" / "python"
POISON = 50  # the number of the bad event
EVENTS = {"poison": 100}
CASES = ("200", "500", "429", "gzip", "poison", "killed")
PROJECT = "sdks"

pytestmark = pytest.mark.e2e


class Sdk(NamedTuple):
    name: str
    command: tuple[str, ...] = ()  # of its process; without one it is run by a page
    needs: Path = SENDERS / "node_modules"
    compresses: bool = True  # whether it can send gzip


SDKS = (
    Sdk("segment-node", ("node", "node.cjs", "segment"), compresses=False),
    Sdk("segment-python", (str(PYTHON), "send.py", "segment"), PYTHON),
    Sdk("segment-browser", compresses=False),
    Sdk("rudder-node", ("node", "node.cjs", "rudder")),
    Sdk("rudder-python", (str(PYTHON), "send.py", "rudder"), PYTHON),
    Sdk("posthog-node", ("node", "node.cjs", "posthog")),
    Sdk("posthog-python", (str(PYTHON), "send.py", "posthog"), PYTHON),
    Sdk("posthog-js"),
)
BY_NAME = {sdk.name: sdk for sdk in SDKS}


def why_not(sdk: Sdk) -> str:
    """Why an SDK cannot run here; empty if it can."""
    if not sdk.needs.exists():
        return f"{sdk.name} is not installed; scripts/test.sh installs it"
    if not sdk.command and CHROMIUM is None:
        return f"{sdk.name} needs Chromium; on Debian: apt-get install chromium"
    return ""


class Killing:
    """Holds the answers of the node until all senders wait for theirs; then they are never sent."""

    def __init__(self) -> None:
        self.waiting = 0
        self.killed = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        answer = exchange.forward()
        assert answer.status == 200, answer
        self.waiting += 1
        self.killed.wait(60)
        exchange.drop()


class Run:
    """One case of one SDK."""

    def __init__(self, sdk: Sdk, case: str, node: Node, origin: str, killing: Killing) -> None:
        self.sdk = sdk
        self.case = case
        self.tenant_id = f"{sdk.name}-{case}"
        cors = {
            "Access_Control_Allow_Origin": origin,
            "Access_Control_Allow_Credentials": "true",
            "Access_Control_Expose_Headers": "Retry-After",
        }
        faults: dict[str, Fault] = {
            "500": fails(500, b'{"code": "broken", "message": "broken"}', **cors),
            # What this server says beyond a rate limit: on PostHog's routes 503.
            "429": fails(
                503 if sdk.name.startswith("posthog") else 429,
                b'{"code": "slow", "message": "slow"}',
                Retry_After="1",
                **cors,
            ),
            "killed": killing,
        }
        self.numbers = range(EVENTS.get(case, 10))
        self.proxy = FaultyProxy(node.port, *[faults[case]] if case in faults else [], has_faults=has_events)

    def line(self) -> str:
        events = [
            {
                "n": n,
                "timestamp": "2099-01-01T00:00:00+00:00" if (self.case, n) == ("poison", POISON) else None,
            }
            for n in self.numbers
        ]
        return json.dumps({"case": self.case, "url": self.proxy.url, "key": self.tenant_id, "events": events})

    @property
    def accepted(self) -> set[int]:
        return set(self.numbers) - ({POISON} if self.case == "poison" else set())


def has_events(method: str, path: str) -> bool:
    return method == "POST" and "/flags" not in path


class Sender:
    """An SDK with its process or page."""

    def __init__(self, sdk: Sdk, page: Any) -> None:
        self.sdk = sdk
        self._page = page
        self._process = None
        if sdk.command:
            self._process = subprocess.Popen(
                sdk.command,
                cwd=SENDERS,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def send(self, run: Run) -> None:
        if self._process is None:
            self._page.evaluate(
                "([name, run]) => void send(name, run)", [self.sdk.name.split("-")[0], json.loads(run.line())]
            )
        else:
            assert self._process.stdin is not None
            self._process.stdin.write(run.line() + "\n")
            self._process.stdin.flush()

    def end(self) -> int:
        """Waits for the process to end by itself; its exit status."""
        if self._process is None:
            return 0
        out, errors = self._process.communicate(timeout=90)
        sys.stderr.write(f"{self.sdk.name}: {out}{errors}")
        return self._process.returncode

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


class Outcome(NamedTuple):
    stored: dict[str, Counter[int]]  # tenant → how often an answer has each number
    runs: dict[str, Run]
    statuses: dict[str, int]  # SDK → how its process ended
    rejected: list[Any]
    refused: float


@contextlib.contextmanager
def pages() -> Iterator[tuple[str, Any]]:
    """The origin of a page with the SDKs for browsers, and the page, if there is a browser."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=SENDERS))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_port}"
    try:
        if CHROMIUM is None or why_not(BY_NAME["posthog-js"]):
            yield origin, None
            return
        from playwright.sync_api import sync_playwright

        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
            page = browser.new_page()
            page.goto(f"{origin}/page.html")
            page.wait_for_function("!!window.send")
            yield origin, page
            browser.close()
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    sdks = [sdk for sdk in SDKS if not why_not(sdk)]
    keys = [{"key": KEY}] + [
        {"key": f"{sdk.name}-{case}", "project": PROJECT, "tenant": f"{sdk.name}-{case}"}
        | ({} if sdk.command else {"kind": "browser"})
        for sdk in sdks
        for case in CASES
    ]
    settings = f"auth.api_keys = {json.dumps(keys)}\ningest.rate_limit_requests_per_address = 0"
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(Node(tmp_path_factory.mktemp("sdks"), settings=settings))
        origin, page = stack.enter_context(pages())
        node.wait_ready()
        yield send_all(sdks, node, origin, page, stack)


def send_all(sdks: list[Sdk], node: Node, origin: str, page: Any, stack: contextlib.ExitStack) -> Outcome:
    killing = Killing()
    runs = [Run(sdk, case, node, origin, killing) for sdk in sdks for case in CASES]
    senders = {sdk.name: Sender(sdk, page) for sdk in sdks}
    for run in runs:
        stack.enter_context(run.proxy)
    for sender in senders.values():
        stack.callback(sender.kill)
    for run in runs:
        if run.case != "killed":
            senders[run.sdk.name].send(run)
    wait_until_stored(node, [run for run in runs if run.case != "killed"], page)
    refused = node.metric("nealytics_events_refused_total")
    for run in runs:
        if run.case == "killed":
            senders[run.sdk.name].send(run)
    until(lambda: killing.waiting >= len(sdks), pause=pause_of(page))
    node.kill()
    node.start()
    node.wait_ready("/health")
    killing.killed.set()
    wait_until_stored(node, runs, page)
    statuses = {name: sender.end() for name, sender in senders.items()}
    node.wait_drained()
    return Outcome(
        stored={run.tenant_id: numbers(node, run.tenant_id) for run in runs},
        runs={run.tenant_id: run for run in runs},
        statuses=statuses,
        rejected=[event for path in rejected_files(node) for event in read(path)],
        refused=refused,
    )


def rejected_files(node: Node) -> list[Path]:
    return sorted((node.directory / "data" / "wal" / "rejected").glob("*.ndjson"))


def wait_until_stored(node: Node, runs: list[Run], page: Any) -> None:
    waiting = list(runs)

    def arrived() -> bool:
        waiting[:] = [run for run in waiting if not run.accepted <= set(numbers(node, run.tenant_id))]
        return not waiting

    until(
        arrived,
        "all events are stored",
        pause=pause_of(page),
        more=lambda: f"not stored: {[run.tenant_id for run in waiting]}\n{node.log_tail()}",
    )


def pause_of(page: Any) -> Callable[[], object]:
    """A page gets nothing done while its driver sleeps."""
    return (lambda: time.sleep(0.1)) if page is None else (lambda: page.wait_for_timeout(100))


def numbers(node: Node, tenant_id: str) -> Counter[int]:
    path = "/api/v1/telemetry/timeline?limit=1000&after=-1d"
    try:
        answer = node.read(path, project_id=PROJECT, tenant_id=tenant_id)
    except (OSError, AssertionError):
        return Counter()  # it is being started
    found = [json.loads(event["metadataJson"]) for event in answer["events"] if event["eventType"] == "paid"]
    return Counter(each["n"] for each in found)


each_sdk = pytest.mark.parametrize(
    "sdk",
    [
        pytest.param(sdk, id=sdk.name, marks=pytest.mark.skipif(bool(why_not(sdk)), reason=why_not(sdk)))
        for sdk in SDKS
    ],
)


@each_sdk
@pytest.mark.parametrize("case", CASES)
def test_what_was_sent_is_counted_and_none_twice(outcome: Outcome, sdk: Sdk, case: str):
    run = outcome.runs[f"{sdk.name}-{case}"]
    assert outcome.stored[run.tenant_id] == Counter(run.accepted)


@each_sdk
def test_the_sender_s_process_survives(outcome: Outcome, sdk: Sdk):
    assert outcome.statuses[sdk.name] == 0


def test_the_bad_events_are_kept_with_their_reason(outcome: Outcome):
    sent = sum(run.case == "poison" for run in outcome.runs.values())
    if not sent:
        pytest.skip("no SDK is installed: scripts/test.sh does that")
    assert outcome.refused == len(outcome.rejected) == sent
    assert {event.code for event in outcome.rejected} == {"outside_time_window"}
    assert {json.loads(bytes(event.payload))["properties"]["n"] for event in outcome.rejected} == {POISON}


@each_sdk
def test_faults_happened_and_bodies_were_compressed(outcome: Outcome, sdk: Sdk):
    for case in CASES:
        proxy = outcome.runs[f"{sdk.name}-{case}"].proxy
        assert proxy.faults == []
        is_compressed = any(body.startswith(b"\x1f\x8b") for body in proxy.bodies)
        if case == "gzip":
            assert is_compressed == sdk.compresses
