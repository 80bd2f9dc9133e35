"""Erasures in a real engine: the SQL, the mutation, and jobs that go on after a crash."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from nealytics.auth.scope import Scope
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.endpoint import embedded_endpoint
from nealytics.clickhouse.error_codes import ACCESS_DENIED
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.rowbinary import ROW_FORMAT, insert_sql
from nealytics.clickhouse.schema import create_statements
from nealytics.clickhouse.table_state import last_deletion_ms
from nealytics.commit.rejected import Whose
from nealytics.config import Config, ServerConfig
from nealytics.erasure.announcements import Announcements
from nealytics.erasure.jobs import Erasure, Job
from nealytics.erasure.known import LEASE_S, Known, jobs_of
from nealytics.erasure.requests import new_job, request
from nealytics.erasure.running import Erasing
from nealytics.erasure.store import Jobs
from nealytics.erasure.table import ErasureTable
from nealytics.erasure.tombstones import Tombstones
from nealytics.errors import ErasuresUnreadable, LogFull, NealyticsError
from tests.engine import RunningEngine, needs_engine, start_engine
from tests.erasure.erasures import erasure
from tests.fakes.letters import held, put, rejected
from tests.fakes.rows import TIMESTAMP_MS, row
from tests.waiting import until_async

pytestmark = [needs_engine, pytest.mark.engine]


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the engine were a server that other nodes use too."""
    monkeypatch.setattr(Announcements, "is_shared", True)


NAMES = ("acme", "it's", "back\\slash", "ü€🙂", "a")
ROWS = [
    row(n, project_id=project, tenant_id=tenant, user_id=user, timestamp_ms=TIMESTAMP_MS + later)
    for n, (project, tenant, user, later) in enumerate(
        (project, tenant, user, later)
        for project in ("shop", "other")
        for tenant in NAMES
        for user in (None, "", "a", "it's", "ü€🙂")
        for later in (0, 1)
    )
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with start_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


class Place:
    """A database, and the directory of a node without logs."""

    def __init__(self, client: ClickHouseClient, config: Config) -> None:
        self.client, self.config = client, config
        self.jobs = Jobs(config.server.data_dir)
        self.table = ErasureTable(client, config.clickhouse)
        self.now_ms = time.time_ns() // 1_000_000
        self.clock_s = 0.0
        self.start()

    def start(self) -> None:
        """As after a restart of the node."""
        self.erasing = Erasing(self.client, self.config, self.jobs, lambda: self.now_ms)
        self.known = Known(self.client, self.config.clickhouse, self.jobs, lambda: self.clock_s)
        self.list = Announcements(self.client, self.config.clickhouse)

    @property
    def database(self) -> str:
        return self.config.clickhouse.database

    async def create(self) -> None:
        for sql in create_statements(self.database, 0):
            await self.client.command(sql)
        # Copies of an event stay in parts of their own. SYSTEM STOP MERGES would also stop mutations.
        setting = "max_bytes_to_merge_at_max_space_in_pool = 1"
        await self.client.command(f"ALTER TABLE {self.database}.global_events MODIFY SETTING {setting}")

    async def store(self, *rows: bytes) -> None:
        token = f"{time.time_ns()}"
        await self.client.insert(insert_sql(self.database, ROW_FORMAT), b"".join(rows), token=token)

    async def erase(self, user_id: str | None = None, *, tenant_id: str = "acme", now: bool = False) -> str:
        job = new_job(
            "shop", tenant_id, user_id,
            before_ms=TIMESTAMP_MS + 1, now=now, requested_by="a test", now_ms=self.now_ms,
        )  # fmt: skip
        await request(self.list, self.jobs, job)
        return job.id

    async def until(self, id: str, *states: str) -> Job:
        def job() -> Job:
            return self.jobs.all()[id]

        await until_async(lambda: job().state in states, pause=self.erasing.step, more=lambda: f"{job()}")
        return job()

    async def replaced_parts(self) -> set[str]:
        answer = await self.client.command(
            f"SELECT name FROM system.parts WHERE database = '{self.database}' AND table = 'global_events' "
            "AND NOT active FORMAT TabSeparated"
        )
        return set(answer.split())

    async def events(self, *, copies: bool = False) -> list[tuple[int, str]]:
        """Number and user, as reads show them; with `copies`, as the parts have them."""
        answer = await self.client.command(
            f"SELECT toString(event_id), ifNull(user_id, '') FROM {self.database}.global_events "
            "FORMAT JSONCompactEachRow",
            settings={"final": 0 if copies else 1},
        )
        found = [msgspec.json.decode(line, type=tuple[str, str]) for line in answer.splitlines()]
        return sorted((UUID(id).int, user) for id, user in found)


@asynccontextmanager
async def place(engine: RunningEngine, tmp_path: Path) -> AsyncIterator[Place]:
    (tmp_path / "wal").mkdir()
    clickhouse = msgspec.structs.replace(engine.config.clickhouse, database=f"erased_{time.time_ns()}")
    config = msgspec.structs.replace(
        engine.config,
        clickhouse=clickhouse,
        server=ServerConfig(data_dir=tmp_path),
        wal=msgspec.structs.replace(engine.config.wal, directory=tmp_path / "wal"),
    )
    endpoint = msgspec.structs.replace(engine.endpoint, database=clickhouse.database)
    async with ClickHouseClient(endpoint, clickhouse) as client:
        here = Place(client, config)
        await here.create()
        yield here


async def with_copies(here: Place) -> None:
    """1: ada's replaced eve's. 2: eve's replaced ada's. 3: ada's alone, twice. 4: bob's."""
    await here.store(row(1, user_id="eve"), row(2, user_id="ada"), row(3, user_id="ada"))
    await here.store(
        row(1, user_id="ada"), row(2, user_id="eve"), row(3, user_id="ada"), row(4, user_id="bob")
    )


async def test_the_sql_of_an_erasure_covers_the_same_rows_as_its_tombstone(
    engine: RunningEngine, tmp_path: Path
):
    async with place(engine, tmp_path) as here:
        await here.store(*ROWS)
        for tenant in NAMES:
            for user in (None, "a", "it's", "ü€🙂", ""):
                one = erasure(tenant_id=tenant, user_id=user)
                expected = sum(Tombstones([one]).covers(row, ROW_FORMAT) for row in ROWS)
                assert expected == {None: 5, "": 0}.get(user, 1)
                assert await here.table.count(one.condition()) == expected
                if user:
                    assert await here.table.count(one.condition(user)) == expected


async def test_erasures_reach_other_nodes_through_clickhouse(
    engine: RunningEngine, tmp_path: Path, shared: None
):
    async with place(engine, tmp_path) as here:
        assert await here.list.announced() == []  # without the table
        assert await here.list.announced() is None
        sent = [erasure("a"), erasure("b", tenant_id="it's \"\\\t\n", user_id="ü€🙂")]
        for one in (*sent, sent[0]):
            await here.list.announce(one)
        await here.known.refresh()
        assert sorted(here.jobs.erasures().values(), key=lambda one: one.id) == sent
        assert len(await here.list.announced() or ()) == 2
        assert await here.list.announced() is None  # no news
        # The table was created again, without them.
        await here.client.command(f"DROP TABLE {here.database}.erasures SYNC")
        await here.known.refresh()
        await here.erasing.look()
        here.list.forget_version()
        assert sorted(await here.list.announced() or (), key=lambda one: one.id) == sent


async def test_a_command_knows_the_erasures_of_other_nodes_and_writes_none(
    engine: RunningEngine, tmp_path: Path, shared: None
):
    """It may run as another user than the node, which could not read the files."""
    async with place(engine, tmp_path) as here:
        await here.list.announce(erasure("a"))
        jobs = await jobs_of(here.client, here.config)
        assert [job.id for job in jobs.hidden(Scope("shop", "acme"))] == ["a"]
        assert not (tmp_path / "erasures").exists()


async def test_a_user_without_a_right_on_the_list_is_told_so_at_once(
    engine: RunningEngine, tmp_path: Path, shared: None
):
    """Also within the minute after the table did not exist."""
    async with place(engine, tmp_path) as here:
        user = embedded_endpoint(engine.access, here.database, "saved", engine.access.saved)
        async with ClickHouseClient(user, here.config.clickhouse) as client:
            without_right = Announcements(client, here.config.clickhouse)
            assert not await without_right.announced()
            assert not await without_right.announced()
            await here.list.announce(erasure("a"))
            with pytest.raises(ClickHouseError) as refused:
                await without_right.announced()
            assert refused.value.code == ACCESS_DENIED


async def test_a_read_needs_a_list_of_the_last_seconds(engine: RunningEngine, tmp_path: Path, shared: None):
    async with place(engine, tmp_path) as here:
        scope = Scope("shop", "acme")
        with pytest.raises(ClickHouseUnavailable, match="did not answer yet"):
            here.known.hidden(scope)
        await here.known.refresh()
        assert here.known.hidden(scope) == []
        await here.list.announce(erasure("a"))
        here.clock_s = LEASE_S
        with pytest.raises(ClickHouseUnavailable, match="other nodes erased in the last 5 s"):
            here.known.hidden(scope)
        await here.known.refresh()
        assert [job.id for job in here.known.hidden(scope)] == ["a"]


async def test_a_list_that_was_not_stored_is_read_again(
    engine: RunningEngine, tmp_path: Path, shared: None, monkeypatch: pytest.MonkeyPatch
):
    """Else the next answer, that it did not change, would make this one current."""
    async with place(engine, tmp_path) as here:
        await here.known.refresh()
        await here.list.announce(erasure("a"))
        with monkeypatch.context() as patched:

            def full(self: Jobs, job: Job, *, only_new: bool = False) -> None:
                raise LogFull("no room")

            patched.setattr(Jobs, "put", full)
            with pytest.raises(NealyticsError, match="the list cannot be stored: no room"):
                await here.known.refresh()
        await here.known.refresh()
        assert [job.id for job in here.known.hidden(Scope("shop", "acme"))] == ["a"]


async def test_a_node_whose_user_may_not_read_the_list_refuses_reads_and_sends(
    engine: RunningEngine, tmp_path: Path, shared: None, monkeypatch: pytest.MonkeyPatch
):
    """Else it would show what other nodes erased, and nobody would notice."""
    async with place(engine, tmp_path) as here:
        await here.known.refresh()
        await here.list.announce(erasure("a"))
        refused = ClickHouseError(ACCESS_DENIED, "Not enough privileges", name="ACCESS_DENIED")

        async def announced(self: Announcements) -> None:
            raise refused

        monkeypatch.setattr(Announcements, "announced", announced)
        here.clock_s = LEASE_S
        assert await here.known.current() == {}
        with pytest.raises(ErasuresUnreadable, match="Not enough privileges"):
            here.known.hidden(Scope("shop", "acme"))


async def test_a_request_is_answered_when_no_other_node_can_have_an_older_list(
    engine: RunningEngine, tmp_path: Path, shared: None, monkeypatch: pytest.MonkeyPatch
):
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with place(engine, tmp_path) as here:
        monkeypatch.setattr("nealytics.erasure.requests.asyncio.sleep", sleep)
        await here.erase()
        assert waits[-1] > LEASE_S


async def test_no_other_copy_of_an_erased_event_appears(engine: RunningEngine, tmp_path: Path):
    async with place(engine, tmp_path) as here:
        await with_copies(here)
        id = await here.erase("ada")
        hidden = here.jobs.all()[id].condition()
        while here.jobs.all()[id].state in ("pending", "running"):
            await here.erasing.step()
            # What a read shows at any moment.
            shown = await here.client.command(
                f"SELECT arraySort(groupArray(user_id)) FROM {here.database}.global_events FINAL "
                f"WHERE NOT {hidden}"
            )
            assert shown.strip() == "['bob','eve']"
        job = here.jobs.all()[id]
        assert job.state == "removing"
        assert (job.events_found, job.rows_erased) == (2, 4)
        assert await here.events(copies=True) == [(2, "eve"), (4, "bob")]


async def test_what_is_erased_counts_as_no_deletion_by_a_person(engine: RunningEngine, tmp_path: Path):
    """Else `reconcile` would ask a person about every event that is older."""
    async with place(engine, tmp_path) as here:
        await with_copies(here)
        await here.until(await here.erase("ada"), "removing")
        assert await last_deletion_ms(here.client, here.config.clickhouse) == 0


async def test_jobs_of_a_day_share_one_mutation(engine: RunningEngine, tmp_path: Path):
    async with place(engine, tmp_path) as here:
        await here.store(*ROWS)
        ids = [await here.erase(tenant_id=tenant) for tenant in NAMES[:3]]
        for id in ids:
            await here.until(id, "removing")
        assert len(await here.events(copies=True)) == len(ROWS) - 15
        later = await here.erase(tenant_id=NAMES[3])
        await here.erasing.step()
        assert here.jobs.all()[later].state == "pending"
        at_once = await here.erase(tenant_id=NAMES[4], now=True)
        await here.until(at_once, "removing")
        assert here.jobs.all()[later].state == "removing"
        answer = await here.client.command(
            f"SELECT count() FROM system.mutations WHERE database = '{here.database}' FORMAT TabSeparated"
        )
        assert int(answer) == 2


async def test_every_step_may_be_repeated_by_a_new_process(engine: RunningEngine, tmp_path: Path):
    async with place(engine, tmp_path) as here:
        await with_copies(here)
        id = await here.erase("ada")
        while here.jobs.all()[id].state != "removing":
            here.start()
            await here.erasing.step()
            # The process ended before it could store what it had done.
            if here.jobs.all()[id].state == "removing":
                break
            here.jobs.put(msgspec.structs.replace(here.jobs.all()[id], rows_erased=0))
        assert await here.events(copies=True) == [(2, "eve"), (4, "bob")]


async def test_nothing_is_deleted_while_a_log_may_send_more(engine: RunningEngine, tmp_path: Path):
    async with place(engine, tmp_path) as here:
        await here.store(row(1))
        (tmp_path / "wal" / "0").mkdir()
        (tmp_path / "wal" / "0" / "00000000000000000001.wal").touch()
        id = await here.erase()
        await here.erasing.step()
        assert here.jobs.all()[id].problem is None
        here.now_ms += 61_000
        await here.erasing.step()
        job = here.jobs.all()[id]
        assert job.state == "pending"
        assert "wal/0 has events that wait for ClickHouse" in (job.problem or "")
        here.jobs.set_cleaned(id, "0")
        assert (await here.until(id, "removing")).problem is None


async def test_a_restored_table_is_erased_again(engine: RunningEngine, tmp_path: Path):
    """Hidden from the first read after a start on."""
    async with place(engine, tmp_path) as here:
        await here.store(row(1), row(2, tenant_id="other"))
        id = await here.erase()
        await here.until(id, "removing")
        here.jobs.put(msgspec.structs.replace(here.jobs.all()[id], state="done"))
        await here.known.refresh()
        assert here.jobs.all()[id].state == "done"
        await here.client.command(f"DROP TABLE {here.database}.global_events SYNC")
        await here.create()
        here.start()
        await here.known.refresh()
        assert here.jobs.all()[id].state == "done"  # and is empty
        await here.erasing.look()
        assert here.jobs.all()[id].state == "done"
        await here.client.command(f"DROP TABLE {here.database}.global_events SYNC")
        await here.create()
        await here.store(row(1), row(2, tenant_id="other"))
        here.start()
        with pytest.raises(ClickHouseUnavailable):
            here.known.hidden(Scope("shop", "acme"))
        await here.known.refresh()
        assert [job.id for job in here.known.hidden(Scope("shop", "acme"))] == [id]
        here.now_ms += 1
        job = await here.until(id, "removing")
        assert (job.events_found, job.rows_erased) == (1, 1)
        assert await here.events() == [(2, "")]


async def test_what_arrives_after_the_deletion_is_erased_before_the_job_is_done(
    engine: RunningEngine, tmp_path: Path
):
    """As an insert of another node, which had begun before."""
    async with place(engine, tmp_path) as here:
        await here.store(row(1))
        id = await here.erase(now=True)
        await here.until(id, "removing")
        await here.store(row(1), row(2))
        # As after 8 minutes.
        job = here.jobs.all()[id]
        here.jobs.put(msgspec.structs.replace(job, erased_at_ms=0))
        await here.erasing.step()
        assert here.jobs.all()[id].state == "running"
        await here.until(id, "removing")
        assert await here.events(copies=True) == []


async def test_a_job_names_the_parts_that_it_waits_for_and_none_that_was_replaced_later(
    engine: RunningEngine, tmp_path: Path
):
    """A merge may replace what the deletion left, which has no such row."""
    async with place(engine, tmp_path) as here:
        await here.store(row(1), row(2, tenant_id="other"))
        await here.store(row(3, tenant_id="other"))
        id = await here.erase(now=True)
        await here.until(id, "removing")
        before = await here.replaced_parts()
        erased_at_ms = time.time_ns() // 1_000_000
        here.jobs.put(msgspec.structs.replace(here.jobs.all()[id], erased_at_ms=erased_at_ms))
        while time.time_ns() // 1_000_000 < erased_at_ms + 3_000:  # parts have whole seconds
            await here.events()
        await here.client.command(f"OPTIMIZE TABLE {here.database}.global_events FINAL")
        assert before < await here.replaced_parts()
        here.now_ms = time.time_ns() // 1_000_000
        await here.erasing.step()
        job = here.jobs.all()[id]
        assert job.state == "removing"
        assert f"may have the events: {', '.join(sorted(before))}; it removes" in (job.problem or "")
        # After a restart it has forgotten when they were replaced.
        engine.kill()
        engine.start()
        with suppress(ClickHouseUnavailable):  # the earlier connection
            await here.events()
        while not before <= await here.replaced_parts():  # they are loaded in the background
            pass
        await here.erasing.step()
        assert all(part in (here.jobs.all()[id].problem or "") for part in before)


async def test_an_event_that_a_worker_rejected_meanwhile_is_erased_before_the_job_is_done(
    engine: RunningEngine, tmp_path: Path
):
    async with place(engine, tmp_path) as here:
        id = await here.erase(now=True)
        await here.until(id, "removing")
        logs = here.config.wal.directory
        put(logs, rejected(0, whose=Whose(tenant="acme")), rejected(0, whose=Whose(tenant="other")))
        here.jobs.put(msgspec.structs.replace(here.jobs.all()[id], erased_at_ms=0))
        job = await here.until(id, "done")
        assert job.dead_letters_erased == 1
        assert len(held(logs)) == 1


async def test_rows_that_were_attached_to_the_same_table_are_found_by_a_search(
    engine: RunningEngine, tmp_path: Path
):
    async with place(engine, tmp_path) as here:
        await here.store(row(1), row(2, tenant_id="other"))
        ids = [await here.erase(now=True), await here.erase(tenant_id="other", now=True)]
        for id in ids:
            await here.until(id, "removing")
            here.jobs.put(msgspec.structs.replace(here.jobs.all()[id], state="done"))
        await here.erasing.search()
        await here.store(row(1))
        await here.erasing.search()
        assert [here.jobs.all()[id].state for id in ids] == ["pending", "done"]


async def test_a_deletion_that_fails_is_reported(engine: RunningEngine, tmp_path: Path):
    async with place(engine, tmp_path) as here:
        await here.store(row(1))
        id = await here.erase()
        await here.client.command(
            f"ALTER TABLE {here.database}.global_events DELETE "
            "WHERE 'nealytics erasure' != '' AND throwIf(1, 'no room') SETTINGS mutations_sync = 0"
        )
        while not (here.jobs.all()[id].problem or ""):
            await here.erasing.step()
        assert "ClickHouse cannot delete the rows: " in (here.jobs.all()[id].problem or "")
        assert here.jobs.all()[id].state == "running"


def test_a_request_names_a_user_by_a_hash_in_all_that_stays():
    job = new_job("p", "t", "zoe@example.com", before_ms=2, now=False, requested_by="x", now_ms=1)
    assert isinstance(job.erasure, Erasure)
    assert job.user_id == "zoe@example.com"
    assert b"zoe" not in msgspec.json.encode(job.erasure)
    assert "zoe" not in job.erasure.condition()


async def test_a_search_that_takes_too_long_is_reported(
    engine: RunningEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with place(engine, tmp_path) as here:
        await here.store(row(1))
        id = await here.erase()
        with monkeypatch.context() as patched:
            patched.setattr("nealytics.erasure.table._SEARCH_TIMEOUT_S", 0.000_001)
            with pytest.raises(ClickHouseUnavailable):
                await here.erasing.step()
        job = here.jobs.all()[id]
        assert job.state == "pending"
        assert "ClickHouse does not answer: " in (job.problem or "")
        assert (await here.until(id, "removing")).problem is None
