"""Makes `data/<version>`: what a node of this version leaves behind when it is killed with events that wait.

    python -m tests.upgrade.make_data

Run it once for a release whose formats differ from those before, and never again for a version that is there:
the point of these files is that no later program wrote them. Of a real node they hold

    wal/0/             segments; a cursor with committed rows and outstanding intents
    wal/dead-letter/   an event that ClickHouse refused
    expected.json      what was acknowledged, and what had become of it
"""

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from nealytics import __version__
from tests.e2e.node import Node
from tests.fakes.clickhouse import FakeClickHouse

DATA = Path(__file__).parent / "data"
TIMESTAMP_MS = 1_750_000_000_000


def event(number: int, session_id: str, **more: Any) -> dict[str, Any]:
    return {
        "eventId": f"01972f00-0000-7000-8000-{number:012d}",
        "projectId": "shop",
        "tenantId": "acme",
        "sessionId": session_id,
        "eventType": "view",
        # Over several months, so partitions.
        "timestamp": TIMESTAMP_MS - number * 5 * 86_400_000,
        **more,
    }


COMMITTED = [event(number, "settled") for number in range(4)]
REFUSED = event(4, "refused")
WAITING = [
    event(5, "waiting"),
    event(6, "waiting", userId="ada", itemId="/shop?a=b&c", metadata={"deep": {"a": [1, None, "é\n"]}}),
    event(7, "café 漢字 🙂", tenantId="globex", metadataJson="any text, and no JSON"),
    # Each fills a segment of its own.
    *(event(number, "waiting", metadata={"text": chr(96 + number) * 45_000}) for number in (8, 9)),
    event(10, "waiting", projectId="blog"),
]


async def make(into: Path, scratch: Path) -> None:
    async with FakeClickHouse() as fake:
        fake.refuse = lambda row: 469 if b"refused" in row else None
        node = Node(scratch, clickhouse=fake.url, settings="wal.segment_bytes_max = 65536")
        node.start()

        def post(*events: dict[str, Any]) -> None:
            assert node.post("batch", list(events))[0] == 202

        try:
            await asyncio.to_thread(node.wait_ready)
            await asyncio.to_thread(post, *COMMITTED, REFUSED)
            await asyncio.to_thread(node.wait_drained)
            await fake.stop()  # from here on ClickHouse is down
            for one in WAITING:
                await asyncio.to_thread(post, one)
                await asyncio.sleep(0.5)  # so that each is an intent of its own
        finally:
            node.kill()
    wal = scratch / "data" / "wal"
    shutil.copytree(wal, into / "wal", ignore=shutil.ignore_patterns("reserve"))
    told = {
        "committed": COMMITTED,
        "deadLetter": [REFUSED],
        "waiting": [without_bulk(one) for one in WAITING],
    }
    (into / "expected.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def without_bulk(event: dict[str, Any]) -> dict[str, Any]:
    metadata = event.get("metadata")
    if metadata is None or len(str(metadata)) < 1_000:
        return event
    return {**event, "metadata": None, "metadataBytes": len(json.dumps(metadata))}


def main() -> None:
    into = DATA / __version__
    if into.exists():
        sys.exit(f"{into} is there, and stays as that version made it")
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(make(into, Path(scratch)))
    for file in sorted(into.rglob("*")):
        if file.is_file():
            print(f"{file.stat().st_size:8} {file.relative_to(DATA)}")


if __name__ == "__main__":
    main()
