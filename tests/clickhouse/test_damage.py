"""Which errors mean damage, and which part they name."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pytest

from nealytics.clickhouse.damage import REST_AFTER_CHECK, DamageWatch, Noted, broken_parts
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.failover import Addresses
from nealytics.config import ClickHouseConfig
from nealytics.http.reads import refusal

READING = (
    "Code: {code}. DB::Exception: {text}: (while reading column m): (while reading from part "
    "/var/lib/clickhouse/store/5f5/5f5ae728-97dc-43cc-93e3-fb270b68e92e/202601_1_7_2_9/ in table d.g): "
    "While reading part 202601_1_7_2_9: While executing MergeTreeSelect. (NAME)"
)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        # What it says about hardware is longer than what is kept of a message.
        pytest.param(40, "Checksum doesn't match" + " or bad RAM on host" * 200, id="flipped byte"),
        pytest.param(33, "Cannot read all data", id="cut file"),
        pytest.param(107, "Cannot open file", id="missing file"),
        pytest.param(271, "Cannot decompress", id="changed block"),
    ],
)
def test_an_error_while_reading_a_part_is_damage_and_names_it(code: int, text: str):
    error = ClickHouseError(code, READING.format(code=code, text=text))
    assert error.damaged_part == "202601_1_7_2_9"
    assert not error.bad_content
    refused = refusal(error)
    assert (refused.status, refused.code) == (500, "data_damaged")  # type: ignore[attr-defined]
    assert "part 202601_1_7_2_9" in refused.message  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", [241, 159, 394, 210])
def test_a_query_that_ends_while_it_reads_a_part_is_no_damage(code: int):
    assert ClickHouseError(code, READING.format(code=code, text="limit exceeded")).damaged_part == ""


def test_a_row_that_is_too_short_is_still_the_rows_fault():
    error = ClickHouseError(
        33, "Code: 33. DB::Exception: Cannot read all data: (at row 1). (CANNOT_READ_ALL_DATA)"
    )
    assert error.bad_content


def test_the_message_of_a_check_names_its_part():
    error = ClickHouseError(
        226, "There is no file for column 'm' in data part 'all_1_1_0'. (NO_FILE_IN_DATA_PART)"
    )
    assert error.damaged_part == "all_1_1_0"


class Server:
    """A ClickHouse whose counters of damage rise, and what it is asked to check. A check takes a minute."""

    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.addresses = Addresses(("http://one",), lambda: self.now)
        self.now = 1000.0
        self.damaged: dict[str, str] = {}
        self.errors = 0
        self.bad: dict[str, str] = {}
        self.refusal: ClickHouseError | None = None
        self.checks = 0

    async def command(self, sql: str, *_: object, **__: object) -> str:
        if "system.errors" in sql:
            return f"{self.errors}\n"
        if "CHECK TABLE" in sql:
            self.checks += " PART " not in sql
            self.now += 60
            self.errors += len(self.bad)
            if self.refusal is not None:
                raise self.refusal
            parts = [*self.bad, *self.damaged, "all_9_9_0"]
            if " PART " in sql:
                parts = [part for part in parts if f"'{part}'" in sql]
            return "".join(
                f"{part}\t0\t{self.bad[part]}\n" if part in self.bad else f"{part}\t1\t\n" for part in parts
            )
        if "system.parts" in sql:
            return "\n".join([*self.bad, *self.damaged])
        return ""

    def watch(self) -> DamageWatch:
        client: Any = self
        noted = Noted(Path(self.directory.name) / "damaged-parts")
        return DamageWatch(client, client, ClickHouseConfig(), noted, monotonic=lambda: self.now)


@pytest.mark.parametrize(
    "refusal",
    [None, ClickHouseError(159, "Timeout exceeded. (TIMEOUT_EXCEEDED)"), ClickHouseUnavailable("no answer")],
)
async def test_errors_of_other_tables_do_not_have_ours_read_over_and_over(refusal: ClickHouseError | None):
    """The counters are the server's, and a check reads the whole table."""
    server = Server()
    server.refusal = refusal
    watch = server.watch()
    for _ in range(360):
        server.now += 10
        server.errors += 1
        with contextlib.suppress(ClickHouseUnavailable):
            await watch.look(check=True)
    assert 2 <= server.checks <= 4  # in an hour and the time that they took


async def test_damage_that_is_met_soon_after_a_check_is_found_by_the_next_one():
    server = Server()
    watch = server.watch()
    server.errors = 1
    assert await watch.look(check=True) == []
    server.errors, server.bad = 2, {"202601_1_1_0": "Checksum doesn't match"}
    assert await watch.look(check=True) == []
    server.now += 60 * REST_AFTER_CHECK
    (said,) = await watch.look(check=True)
    assert "part 202601_1_1_0 is damaged" in said
    # A check that finds damage counts it, too.
    for _ in range(9):
        server.now += 3600
        assert await watch.look(check=True) == [said]
    assert server.checks == 2


async def test_a_server_that_was_restarted_and_counts_anew_is_checked():
    server = Server()
    watch = server.watch()
    server.errors = 5
    await watch.look(check=True)
    server.errors = 0
    server.now += 3600
    await watch.look(check=True)
    server.errors = 1
    await watch.look(check=True)
    assert server.checks == 2


class Pair:
    """Two addresses, each with a counter of its own, and where the table is checked."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.addresses = Addresses(("http://one", "http://two"), lambda: self.now)
        self.damaged: dict[str, str] = {}
        self.errors = {"http://one": 0, "http://two": 0}
        self.checks: list[str] = []
        self.timeouts: list[float | None] = []

    async def command(
        self, sql: str, *_: object, at: Any, timeout_s: float | None = None, **__: object
    ) -> str:
        if "system.errors" in sql:
            return f"{self.errors[at.url]}\n"
        if "CHECK TABLE" in sql:
            self.checks.append(at.url)
            self.timeouts.append(timeout_s)
        return ""


async def test_the_table_is_checked_where_the_errors_were_counted(tmp_path: Path):
    """A check where reads go finds nothing of what another server has reported."""
    pair: Any = Pair()
    config = ClickHouseConfig(insert_timeout_s=300)
    watch = DamageWatch(pair, pair, config, Noted(tmp_path / "parts"), monotonic=lambda: pair.now)
    pair.errors["http://two"] = 3
    await watch.look(check=True)
    assert pair.checks == []
    pair.errors["http://one"] = 3
    await watch.look(check=True)
    await watch.look(check=True)
    assert pair.checks == ["http://one"]
    pair.addresses.failed(pair.addresses.all[0])
    await watch.look(check=True)
    await watch.look(check=True)
    assert pair.checks == ["http://one", "http://two"]
    pair.now += 3600
    await watch.look(check=True)
    assert pair.checks == ["http://one", "http://two"], "nothing new at the first one"
    assert pair.timeouts == [300, 300], "it may take longer than a question"


@pytest.mark.parametrize("check", [True, False])
async def test_a_part_that_can_be_read_again_is_no_longer_refused(check: bool):
    """A replica fetches a broken part anew, by the same name; or a person put its files back."""
    server = Server()
    watch = server.watch()
    server.damaged["202601_1_1_0"] = "CANNOT_READ_ALL_DATA (code 33)"
    server.bad["202601_1_1_0"] = "Cannot read all data"
    (said,) = await watch.look(check=check)
    assert "202601_1_1_0" in said
    server.bad.clear()
    server.now += 60 * REST_AFTER_CHECK
    assert await watch.look(check=check) == []
    assert server.damaged == {}


class TestNoted:
    def test_what_one_worker_finds_damaged_is_known_to_the_others_until_one_finds_it_whole(self, tmp_path):
        one, two = Noted(tmp_path / "parts"), Noted(tmp_path / "parts")
        ours: dict[str, str] = {}
        theirs: dict[str, str] = {}
        ours["202601_1_1_0"] = "Checksum doesn't match"
        one.exchange(ours)
        two.exchange(theirs)
        assert theirs == {"202601_1_1_0": "Checksum doesn't match"}
        theirs["202602_1_1_0"] = "Cannot read all data"
        two.exchange(theirs)
        one.exchange(ours)
        assert sorted(ours) == ["202601_1_1_0", "202602_1_1_0"]
        del theirs["202601_1_1_0"]
        two.exchange(theirs)
        one.exchange(ours)
        assert list(ours) == list(theirs) == ["202602_1_1_0"]

    def test_a_worker_that_starts_again_knows_what_the_others_know(self, tmp_path):
        Noted(tmp_path).exchange({"202601_1_1_0": "Checksum doesn't match"})
        parts: dict[str, str] = {}
        Noted(tmp_path).exchange(parts)
        assert parts == {"202601_1_1_0": "Checksum doesn't match"}

    def test_a_note_that_was_cut_within_a_character_still_names_its_part(self, tmp_path):
        (tmp_path / "202601_1_1_0").write_bytes("Prüf".encode()[:3])
        (tmp_path / "202602_1_1_0").write_text("")
        parts = {"202603_1_1_0": "Checksum doesn't match"}
        Noted(tmp_path).exchange(parts)
        assert parts == {
            "202601_1_1_0": "Pr\ufffd",
            "202602_1_1_0": "",
            "202603_1_1_0": "Checksum doesn't match",
        }
        assert (tmp_path / "202603_1_1_0").exists()

    def test_a_note_is_complete_when_it_has_its_name(self, tmp_path, monkeypatch):
        """Another worker may read the directory at any time, and a worker may be killed while it writes."""

        def killed(*_: object) -> None:
            raise OSError("killed")

        monkeypatch.setattr(Path, "replace", killed)
        with pytest.raises(OSError, match="killed"):
            Noted(tmp_path).exchange({"202601_1_1_0": "Checksum doesn't match"})
        parts: dict[str, str] = {}
        Noted(tmp_path).exchange(parts)
        assert parts == {}


async def test_a_check_by_one_worker_has_the_others_refuse_the_part():
    server, other = Server(), Server()
    other.directory = server.directory
    first, second = server.watch(), other.watch()
    server.bad["202601_1_1_0"] = other.bad["202601_1_1_0"] = "Checksum doesn't match"
    server.errors = 1
    await first.look(check=True)
    (said,) = await second.look(check=False)
    assert "part 202601_1_1_0 is damaged" in said
    assert list(other.damaged) == ["202601_1_1_0"]


async def test_a_torn_note_does_not_stop_the_watch_and_a_read_may_report_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
):
    server = Server()
    watch = server.watch()
    directory = Path(server.directory.name) / "damaged-parts"
    directory.mkdir()
    (directory / "202601_1_1_0").write_bytes(b"\xc3")
    server.bad["202601_1_1_0"] = server.bad["202602_1_1_0"] = "Checksum doesn't match"
    exchange = Noted.exchange

    def reported_meanwhile(noted: Noted, parts: dict[str, str]) -> None:
        server.damaged["202602_1_1_0"] = "found by a read"
        exchange(noted, parts)

    monkeypatch.setattr(Noted, "exchange", reported_meanwhile)
    said = await watch.look(check=False)
    assert [part in "".join(said) for part in server.bad] == [True, True]


class Replicas:
    """Several addresses, each with parts of its own that were moved aside; one may not answer."""

    def __init__(self, *hosts: str) -> None:
        self.addresses = Addresses(tuple(f"http://{host}" for host in hosts), lambda: 0.0)
        self.asked: list[str] = []
        self.away: set[str] = set()

    async def command(self, sql: str, *_: object, at: Any = None, **__: object) -> str:
        host = at.url.removeprefix("http://") if at else "anyone"
        self.asked.append(sql)
        if host in self.away:
            raise ClickHouseUnavailable("no answer")
        return f"broken_202601_1_1_0\tbroken-on-start\t{host}\n"


async def test_every_address_is_asked_for_parts_that_were_moved_aside():
    client: Any = Replicas("one", "two", "three")
    client.away = {"two"}
    said = await broken_parts(client, ClickHouseConfig())
    assert [line.split(" is damaged")[0].split("part ")[1] for line in said] == [
        "broken_202601_1_1_0 on one",
        "broken_202601_1_1_0 on three",
    ]
    client.away = {"one", "two", "three"}
    with pytest.raises(ClickHouseUnavailable):
        await broken_parts(client, ClickHouseConfig())


async def test_every_host_of_a_cluster_is_asked_for_parts_that_were_moved_aside():
    client: Any = Replicas("one", "two")
    await broken_parts(client, ClickHouseConfig(cluster="main"))
    (sql,) = client.asked
    assert "clusterAllReplicas('main', system.detached_parts)" in sql
