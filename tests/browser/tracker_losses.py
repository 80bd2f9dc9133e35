"""What a tracker loses while everything around it fails, beside `sendBeacon` alone.

    python -m tests.browser.tracker_losses [--loads 1000] [--seed 1]

A page of a site makes events at random moments, each twice: with the tracker, and with `sendBeacon` as a page would
do it by hand. Its life ends at a random moment: by the next page, by closing the tab, by a crash, or because
its process is killed. Meanwhile the network goes and comes back, and the node is killed and started again.

The page says what it made over a channel of the debugger, which is neither network nor storage. At the end, one more
page is opened, and the node is asked what it counted.

    created      said after the call had returned
    counted      of those, in the answer of the read API
    lost         of those, not in it
    duplicated   in it more than once
    unsaid       counted, but the page ended before its word had arrived
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.browser.conftest import CHROMIUM
from tests.browser.tracked import BROWSER_KEY, PROJECT, SETTINGS, TrackedSite, stored, waiting
from tests.e2e.node import Node
from tests.waiting import until

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
ENDS = ("navigate", "close", "crash", "kill")
LIFE_MS_MAX = 500
EVENTS_MAX = 5

# Runs after /t.js, which is deferred as well.
SCRIPT = """
const [load, ...times] = new URLSearchParams(location.search).get("plan").split(",");
const address = ADDRESS;
function make(n, track) {
  if (track) track();
  navigator.sendBeacon(address, JSON.stringify({ projectId: "PROJECT", tenantId: "beacon", sessionId: "s", eventType: "made", metadata: { n } }));
  say(n);
}
if (!window.nealytics) say("blocked");
else {
  make("view-" + load); // the tracker has done its part when it was loaded
  times.forEach((ms, number) => setTimeout(() => make(`${load}-${number}`, () => nealytics("made", { n: `${load}-${number}` })), Number(ms)));
}
"""


@dataclass
class Result:
    planned: set[str] = field(default_factory=lambda: {"view-last"})
    created: set[str] = field(default_factory=set)
    ends: Counter[str] = field(default_factory=Counter)
    counted: dict[str, Counter[str]] = field(default_factory=dict)  # sender → event → how often

    def hear(self, text: str) -> None:
        if text == "blocked":
            self.ends["script not loaded"] += 1
        else:
            self.created.add(text)

    def lost(self, sender: str) -> set[str]:
        return self.created - self.counted[sender].keys()

    def duplicated(self, sender: str) -> set[str]:
        return {name for name, times in self.counted[sender].items() if times > 1}

    def unknown(self, sender: str) -> set[str]:
        """Counted, but no page was to make it."""
        return self.counted[sender].keys() - self.planned

    def table(self) -> str:
        lines = ["| | created | counted | lost | duplicated | unsaid |", "|---|---|---|---|---|---|"]
        for sender, title in (("tracker", "`/t.js`"), ("beacon", "`sendBeacon` alone")):
            counted = self.counted[sender].keys()
            numbers = (
                len(self.created),
                len(self.created & counted),
                len(self.lost(sender)),
                len(self.duplicated(sender)),
                len(counted - self.created),
            )
            lines.append(f"| {title} | {' | '.join(f'{number:,}' for number in numbers)} |")
        return "\n".join(lines)


class LossSite(TrackedSite):
    """Its pages make events."""

    def html(self, tenant: str, body: str) -> str:
        address = json.dumps(f"{self.node.url}/api/v1/telemetry/beacon?k={BROWSER_KEY}")
        script = SCRIPT.replace("ADDRESS", address).replace("PROJECT", PROJECT)
        return super().html(tenant, body).replace("</head>", f"<script type=module>{script}</script></head>")

    def headers(self) -> dict[str, str]:
        return {}  # the script is inline


class Visitor:
    """One browser with its profile, and the pages that somebody opens in it."""

    def __init__(self, playwright: Any, profile: Path, site: TrackedSite, result: Result) -> None:
        self.site = site
        self.result = result
        self.context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=CHROMIUM,
            args=list(FLAGS),
            ignore_default_args=["--disable-back-forward-cache"],
        )
        self.context.expose_binding("say", lambda _source, text: result.hear(text))
        self.context.set_default_timeout(60_000)
        self.page = self.context.pages[0]

    def visit(self, load: int, rng: random.Random) -> None:
        """One page from its beginning to its end."""
        times = [rng.randrange(LIFE_MS_MAX) for _ in range(rng.randint(1, EVENTS_MAX))]
        plan = ",".join(map(str, [load, *times]))
        self.result.planned |= {f"view-{load}", *(f"{load}-{number}" for number in range(len(times)))}
        self.page.goto(f"{self.site.url}/tracker/{load}?plan={plan}", wait_until="commit")
        end = rng.choice(ENDS)
        left = rng.randrange(LIFE_MS_MAX)
        if rng.random() < 0.15:
            self.result.ends["offline"] += 1
            self.page.wait_for_timeout(left / 2)
            self.context.set_offline(True)
            self.page.wait_for_timeout(left / 2)
            if rng.random() < 0.5:  # else it ends while it is offline
                self.context.set_offline(False)
        self.page.wait_for_timeout(left)
        self.result.ends[end] += 1
        getattr(self, end)()
        self.context.set_offline(False)

    def navigate(self) -> None:
        pass  # the next visit does

    def close(self) -> None:
        old, self.page = self.page, self.context.new_page()
        old.close()

    def crash(self) -> None:
        self._die("chrome://crash")

    def kill(self) -> None:
        self._die("chrome://kill")

    def _die(self, how: str) -> None:
        """These addresses end the page's process instead of opening anything; the page gets no last word."""
        from playwright.sync_api import Error

        try:
            self.page.goto(how, timeout=10_000)
        except Error as error:
            if "crash" not in error.message.lower() and "ERR_ABORTED" not in error.message:
                raise
        until(self._is_dead)
        self.close()

    def _is_dead(self) -> bool:
        from playwright.sync_api import Error

        try:
            self.page.wait_for_timeout(1)
        except Error as error:
            return "crashed" in error.message
        return False


@contextmanager
def killed_now_and_then(node: Node, rng: random.Random, result: Result, pause_s: float) -> Iterator[None]:
    """Kills the node and starts it again, in a thread, until the end of the `with`."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(rng.uniform(0.5, 1.5) * pause_s):
            node.kill()
            result.ends["node killed"] += 1
            time.sleep(rng.uniform(0, 2))
            node.start()
            node.wait_ready("/ready/ingest")

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run(directory: Path, *, loads: int, seed: int, kill_pause_s: float = 8.0) -> Result:
    from playwright.sync_api import sync_playwright

    rng = random.Random(seed)
    result = Result()
    with Node(directory, settings=SETTINGS) as node, sync_playwright() as playwright:
        node.wait_ready()
        site = LossSite(node)
        visitor = Visitor(playwright, directory / "profile", site, result)
        with killed_now_and_then(node, random.Random(seed + 1), result, kill_pause_s):
            for load in range(loads):
                visitor.visit(load, rng)
        finish(visitor, node, site)
        for sender in ("tracker", "beacon"):
            result.counted[sender] = Counter(
                event["metadata"].get("n") or f"view-{event['itemId'].rpartition('/')[2]}"
                for event in stored(node, sender)
            )
        visitor.context.close()
        site.close()
    return result


def finish(visitor: Visitor, node: Node, site: TrackedSite) -> None:
    """One more page, which sends what the others left."""
    node.wait_ready()
    visitor.page.goto(f"{site.url}/tracker/last?plan=last")
    until(lambda: waiting(visitor.page) == 0, timeout_s=600)
    node.wait_drained()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loads", type=int, default=1_000, choices=range(1, 10_001), metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tracker-losses-") as directory:
        result = run(Path(directory), loads=given.loads, seed=given.seed)
    print(", ".join(f"{number:,} × {what}" for what, number in result.ends.most_common()))
    print(result.table())
    wrong = {
        "lost": result.lost("tracker"),
        "duplicated": result.duplicated("tracker"),
        "never planned": result.unknown("tracker"),
    }
    for what, names in wrong.items():
        if names:
            print(f"{what}, by the tracker: {', '.join(sorted(names))}")
    sys.exit(1 if any(wrong.values()) else 0)


if __name__ == "__main__":
    main()
