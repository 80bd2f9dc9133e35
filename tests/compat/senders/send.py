"""Sends events with the SDKs for Python: `python send.py segment|rudder|posthog`.

Standard input and output are those of node.cjs.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any


def segment(run: dict[str, Any]) -> None:
    from segment.analytics.client import Client

    client = Client(
        run["key"],
        host=run["url"],
        gzip=run["case"] == "gzip",
        upload_size=len(run["events"]),
        on_error=lambda error, batch: print(error, file=sys.stderr),
    )
    for event in run["events"]:
        client.track("ada", "paid", {"n": event["n"]}, timestamp=_time(event))
    client.shutdown()


def rudder(run: dict[str, Any]) -> None:
    from rudderstack.analytics.client import Client

    client = Client(
        run["key"],
        host=run["url"],
        upload_size=len(run["events"]),
        on_error=lambda error, batch: print(error, file=sys.stderr),
    )
    for event in run["events"]:
        client.track("ada", "paid", {"n": event["n"]}, timestamp=_time(event))
    client.flush()
    client.join()


def posthog(run: dict[str, Any]) -> None:
    from posthog import Posthog

    client = Posthog(
        run["key"],
        host=run["url"],
        gzip=run["case"] == "gzip",
        flush_at=len(run["events"]),
        on_error=lambda error, batch: print(error, file=sys.stderr),
    )
    for event in run["events"]:
        client.capture("paid", distinct_id="ada", properties={"n": event["n"]}, timestamp=_time(event))
    client.flush()
    client.shutdown()


def _time(event: dict[str, Any]) -> datetime | None:
    return datetime.fromisoformat(event["timestamp"]) if event["timestamp"] else None


SENDERS = {"segment": segment, "rudder": rudder, "posthog": posthog}


def main() -> None:
    send = SENDERS[sys.argv[1]]

    def run(line: str) -> None:
        told = json.loads(line)
        send(told)
        print("done", told["case"], flush=True)

    with ThreadPoolExecutor(16) as runs:
        for done in [runs.submit(run, line) for line in sys.stdin]:
            done.result()


if __name__ == "__main__":
    main()
