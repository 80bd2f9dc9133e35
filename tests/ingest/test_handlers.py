"""The three routes over HTTP, with the real log behind them."""

import asyncio
import gzip
import json
import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import RFC_4122, UUID

import pytest

from nealytics.config import QuotaRule, ServerConfig
from nealytics.errors import LogBroken, LogFull
from nealytics.observe.prometheus import text
from nealytics.quotas import Quotas
from tests.fakes.log import RefusingLog
from tests.fakes.worker import ANY, BATCH, BEACON, BOUND, TENANT, TRACK, FakeWorker, event, serving
from tests.ingest.test_decompression import PACK, name
from tests.waiting import until_async

# track


async def test_track_stores_the_event_and_answers_202_without_a_body():
    async with serving() as worker:
        sent = event(
            userId="u",
            itemId="/home",
            metadataJson='{"a":1}',
            eventId=str(UUID(int=7)),
            timestamp="2026-11-01",
        )
        before_ms = int(time.time() * 1000)
        answer = await worker.post(TRACK, sent | {"timestamp": before_ms - 5})
        assert (answer.status, answer.body) == (202, b"")
        [row] = await worker.rows()
        assert row["event_id"] == UUID(int=7)
        assert (row["user_id"], row["item_id"], row["metadata_json"]) == ("u", "/home", '{"a":1}')
        assert before_ms <= row["received_at"] <= time.time() * 1000
        assert worker.ingested == 1


async def test_track_takes_the_key_from_header_or_query_and_the_header_wins():
    async with serving() as worker:
        assert (await worker.post(TRACK, event(), key=None, params={"k": ANY})).status == 202
        assert (await worker.post(TRACK, event(), key=ANY, params={"k": "wrong"})).status == 202
        assert (await worker.post(TRACK, event(), key="wrong", params={"k": ANY})).status == 401
        assert (await worker.post(TRACK, event(), key="", params={"k": ANY})).status == 202


@pytest.mark.parametrize("path", [TRACK, BEACON, BATCH])
@pytest.mark.parametrize("key", [None, "", "wrong", ANY + "x", "ü€😀"])
async def test_unknown_key_is_401_and_the_body_is_not_looked_at(path, key):
    async with serving() as worker:
        answer = await worker.post(path, b"not json", key=key)
        assert answer.error == (401, "unauthorized", None)
        assert worker.refused("unauthorized") == 1
        assert ANY not in answer.body.decode()


async def test_beacon_takes_the_key_from_the_query_only():
    async with serving() as worker:
        answer = await worker.post(BEACON, [event()], key=None, headers={"X-Project-Key": ANY})
        assert answer.status == 401


async def test_track_refuses_with_code_message_and_field():
    async with serving() as worker:
        for body, expected in (
            (event(eventType="x" * 300), (400, "invalid_event", "eventType")),
            (event(timestamp="2019-01-01"), (400, "outside_time_window", "timestamp")),
            (b"{", (400, "invalid_json", None)),
            (b"", (400, "invalid_json", None)),
            ([event()], (400, "invalid_event", None)),
            (event(sessionId=None), (400, "invalid_event", "sessionId")),
        ):
            assert (await worker.post(TRACK, body)).error == expected
        assert "batch" in (await worker.post(TRACK, [event()])).json["detail"]
        assert not await worker.rows()
        assert worker.refused("invalid_event") == 4
        assert worker.refused("invalid_json") == 2


async def test_key_bound_to_project_and_tenant_writes_nothing_else():
    async with serving() as worker:
        for key, sent, status in (
            (BOUND, event(), 202),
            (BOUND, event(tenantId="t9"), 202),
            (BOUND, event(projectId="Shop"), 403),
            (TENANT, event(), 202),
            (TENANT, event(tenantId="t9"), 403),
            (TENANT, event(projectId="x"), 403),
            (ANY, event(projectId="x"), 202),
        ):
            answer = await worker.post(TRACK, sent, key=key)
            assert answer.status == status
            if status == 403:
                assert answer.json["code"] == "forbidden"
        assert len(await worker.rows()) == 4
        assert worker.refused("forbidden") == 3


# beacon


@pytest.mark.parametrize(
    "kind", ["text/plain;charset=UTF-8", "application/json", "application/x-www-form-urlencoded"]
)
async def test_beacon_takes_arrays_and_single_events_of_any_content_type(kind):
    async with serving() as worker:
        for body in ([event(), event()], event()):
            answer = await worker.post(BEACON, body, headers={"Content-Type": kind})
            assert (answer.status, answer.body) == (204, b"")
        assert len(await worker.rows()) == 3


async def test_beacon_keeps_valid_events_and_counts_the_refused_ones():
    async with serving() as worker:
        answer = await worker.post(BEACON, [event(sessionId="a"), {}, None, event(sessionId="b")])
        assert answer.status == 204
        assert [row["session_id"] for row in await worker.rows()] == ["a", "b"]
        assert worker.refused("invalid_event") == 2


async def test_beacon_of_invalid_events_only_is_204_as_it_always_was():
    async with serving() as worker:
        bodies: tuple[Any, ...] = ([], [{}], {}, [event(projectId="")])
        for body in bodies:
            assert (await worker.post(BEACON, body)).status == 204
        assert not await worker.rows()


@pytest.mark.parametrize("body", [b"", b"oops", b"[{]", b"{", b"[\xff]"])
async def test_beacon_of_malformed_json_is_400(body):
    async with serving() as worker:
        assert (await worker.post(BEACON, body)).error[:2] == (400, "invalid_json")


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/plain;charset=UTF-8", "application/json"])
async def test_beacon_takes_ndjson(kind):
    lines = [event(sessionId="a"), {}, event(sessionId="b")]
    body = b"\n\n".join(json.dumps(line).encode() for line in lines) + b"\r\n"
    async with serving() as worker:
        answer = await worker.post(BEACON, body, headers={"Content-Type": kind})
        assert (answer.status, answer.body) == (204, b"")
        assert [row["session_id"] for row in await worker.rows()] == ["a", "b"]
        assert worker.refused("invalid_event") == 1
        one = json.dumps(event(sessionId="c"), indent=1).encode()
        assert (await worker.post(BEACON, one)).status == 204
        assert len(await worker.rows()) == 3


async def test_beacon_of_lines_that_are_all_no_json_is_400():
    async with serving() as worker:
        answer = await worker.post(BEACON, b"oops\nagain\n", headers={"Content-Type": "application/x-ndjson"})
        assert answer.error[:2] == (400, "invalid_json")
        assert answer.json["rejected"] == 2
        mixed = b"oops\n" + json.dumps(event()).encode()
        assert (await worker.post(BEACON, mixed)).status == 204


@pytest.mark.parametrize("path", [TRACK, BEACON, BATCH])
async def test_form_is_refused_with_what_to_send_instead(path):
    urlencoded = urlencode({"events": json.dumps([event()])}).encode()
    parts = (
        f'--x\r\nContent-Disposition: form-data; name="e"\r\n\r\n{json.dumps(event())}\r\n--x--\r\n'.encode()
    )
    async with serving() as worker:
        for kind, body in (("application/x-www-form-urlencoded", urlencoded), ("multipart/form-data", parts)):
            answer = await worker.post(path, body, headers={"Content-Type": f"{kind}; boundary=x"})
            assert answer.error[:2] == (400, "invalid_json")
            assert answer.json["message"] == f"the body is a form ({kind}), and events are JSON"
            assert "JSON.stringify" in answer.json["detail"]
        assert not await worker.rows()


async def test_json_that_curl_calls_a_form_is_taken():
    async with serving() as worker:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        for path, body in ((TRACK, event()), (BATCH, [event()]), (BEACON, event())):
            assert (await worker.post(path, body, headers=headers)).status in (202, 204)
        spaced = b" \n" + json.dumps(event()).encode()
        assert (await worker.post(TRACK, spaced, headers=headers)).status == 202


async def test_beacon_with_a_key_for_another_project_is_403():
    async with serving() as worker:
        answer = await worker.post(BEACON, [event(projectId="x")] * 2, key=BOUND)
        assert answer.error[:2] == (403, "forbidden")
        assert (await worker.post(BEACON, [event(projectId="x"), event()], key=BOUND)).status == 204
        assert worker.refused("forbidden") == 3


# batch


async def test_batch_says_what_was_taken_and_why_the_rest_was_not():
    async with serving() as worker:
        answer = await worker.post(BATCH, [event(), event(eventType=""), event(), 5])
        assert answer.status == 202
        assert answer.json == {
            "accepted": 2,
            "rejected": 2,
            "errors": [
                {
                    "index": 1,
                    "field": "eventType",
                    "error": "eventType is missing or empty",
                    "code": "invalid_event",
                },
                {"index": 3, "error": "the event is a number, not a JSON object", "code": "invalid_event"},
            ],
        }
        assert list(answer.json["errors"][0]) == ["index", "field", "error", "code"]
        assert len(await worker.rows()) == worker.ingested == 2
        assert worker.refused("invalid_event") == 2


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("projectId", "project_id"),
        ("tenantId", "tenant-id"),
        ("sessionId", "sessionID"),
        ("eventType", "event_type"),
        ("eventType", "event"),
    ],
)
async def test_a_misspelt_field_is_named_beside_the_missing_one(name: str, sent: str):
    async with serving() as worker:
        wrong = event()
        wrong[sent] = wrong.pop(name)
        said = f'{name} is missing or empty; write "{name}" in place of "{sent}"'
        answer = await worker.post(TRACK, wrong)
        assert (answer.status, answer.json["message"], answer.json["field"]) == (400, said, name)
        errors = (await worker.post(BATCH, [event(), wrong, wrong])).json["errors"]
        assert [error["error"] for error in errors] == [said, f"{name} is missing or empty"]
        lines = b"\n".join(json.dumps(one).encode() for one in (event(), wrong))
        assert (await worker.post(BATCH, lines)).json["errors"][0]["error"] == said


async def test_a_key_that_is_like_no_field_or_has_a_meaning_is_not_suggested():
    async with serving() as worker:
        for key in ("eventId", "kind", "nothing"):
            wrong = {**event(), key: "018f3d6e-7c9b-7a52-8f60-2b6e4f1c9a11"}
            del wrong["eventType"]
            assert (await worker.post(TRACK, wrong)).json["message"] == "eventType is missing or empty"


async def test_batch_shows_the_first_hundred_errors_and_counts_all():
    async with serving() as worker:
        answer = await worker.post(BATCH, [{}] * 250 + [event()])
        assert (answer.json["accepted"], answer.json["rejected"]) == (1, 250)
        assert len(answer.json["errors"]) == 100


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json", "text/plain"])
async def test_batch_takes_ndjson_and_a_bad_line_is_one_error(kind):
    async with serving() as worker:
        body = b"\n".join([json.dumps(event()).encode(), b"oops", b"", json.dumps(event()).encode(), b""])
        answer = await worker.post(BATCH, body, headers={"Content-Type": kind})
        assert answer.status == 202
        assert (answer.json["accepted"], answer.json["rejected"]) == (2, 1)
        assert answer.json["errors"][0]["index"] == 1


async def test_batch_without_an_acceptable_event_is_400_and_shows_why():
    async with serving() as worker:
        answer = await worker.post(BATCH, [{}, event(timestamp=1), {}])
        assert answer.error == (400, "invalid_event", None)
        assert (answer.json["accepted"], answer.json["rejected"]) == (0, 3)
        assert [error["index"] for error in answer.json["errors"]] == [0, 1, 2]
        assert (await worker.post(BATCH, [{}])).json["message"] == "the event is not valid"
        none: tuple[Any, ...] = ([], b"", b"\n")
        for body in none:
            answer = await worker.post(BATCH, body)
            assert answer.status == 400
        assert not await worker.rows()


async def test_batch_of_malformed_json_is_400_and_nothing_is_stored():
    async with serving() as worker:
        good = json.dumps(event()).encode()
        for body in (b"[" + good + b",", b"[" + good + b"] x", b"[" + good + b',"\xff"]'):
            answer = await worker.post(BATCH, body)
            assert answer.error[:2] == (400, "invalid_json")
        assert not await worker.rows()
        assert worker.refused("invalid_json") == 3


async def test_batch_for_another_project_is_403():
    async with serving() as worker:
        answer = await worker.post(BATCH, [event(projectId="x")], key=BOUND)
        assert answer.error == (403, "forbidden", None)
        answer = await worker.post(BATCH, [event(projectId="x"), {}], key=BOUND)
        assert answer.status == 400


async def test_batch_that_waits_is_200_once_committed():
    async with serving() as worker:
        await worker.post(BATCH, [event()])
        answer = await worker.post(BATCH, [event(), {}, event()], params={"wait": "true"})
        assert (answer.status, answer.json["committed"], answer.json["accepted"]) == (200, True, 2)
        assert worker.committer.waited_for == [(2, 3)]
        assert worker.committer.flushes == 1


async def test_batch_that_waits_in_vain_is_202_and_the_events_are_safe():
    async with serving(wait_timeout_s=0.05) as worker:
        worker.committer.commits = False
        answer = await worker.post(BATCH, [event()], params={"wait": "true"})
        assert (answer.status, answer.json["committed"]) == (202, False)
        assert len(await worker.rows()) == 1


async def test_all_events_of_a_request_share_one_sync():
    """The 202 comes after the fdatasync of the group that holds all events of the request."""
    async with serving() as worker:
        before = "nealytics_wal_group_events_count "
        await worker.post(BATCH, [event()] * 500)
        [line] = [x for x in text(worker.metrics).decode().splitlines() if x.startswith(before)]
        assert line == before + "1.0"


# bodies


@pytest.mark.parametrize("kind", PACK)
async def test_compressed_bodies_are_taken(kind):
    async with serving() as worker:
        body = PACK[kind](json.dumps([event()] * 50).encode())
        answer = await worker.post(BATCH, body, headers={"Content-Encoding": name(kind)})
        assert answer.json["accepted"] == 50


@pytest.mark.parametrize("encoding", ["gzip, gzip", "identity, gzip", "compress", "br,br"])
async def test_unknown_or_stacked_encodings_are_415(encoding):
    async with serving() as worker:
        body = gzip.compress(gzip.compress(json.dumps(event()).encode()))
        answer = await worker.post(TRACK, body, headers={"Content-Encoding": encoding})
        assert answer.error == (415, "unsupported_encoding", None)
        assert answer.headers["Accept-Encoding"] == "gzip, deflate, br, zstd"


async def test_repeated_encoding_headers_are_stacked_encodings():
    async with serving() as worker:
        head = f"POST {TRACK} HTTP/1.1\r\nHost: x\r\nX-Project-Key: {ANY}\r\nContent-Encoding: gzip\r\n" * 1
        answer = await worker.raw(
            head.encode() + b"Content-Encoding: gzip\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        )
        assert answer.split()[1] in (b"415", b"400")


async def test_decompression_may_be_switched_off():
    async with serving(decompression=False) as worker:
        body = gzip.compress(json.dumps(event()).encode())
        assert (await worker.post(TRACK, body, headers={"Content-Encoding": "gzip"})).status == 415
        assert (await worker.post(TRACK, event(), headers={"Content-Encoding": "identity"})).status == 202


@pytest.mark.parametrize("kind", PACK)
async def test_corrupt_compression_is_400_and_a_bomb_413(kind):
    async with serving(body_bytes_max=10_000) as worker:
        headers = {"Content-Encoding": name(kind)}
        assert (await worker.post(TRACK, b"rubbish!", headers=headers)).error[:2] == (400, "bad_request")
        assert (await worker.post(TRACK, PACK[kind](bytes(5_000_000)), headers=headers)).error[:2] == (
            413,
            "body_too_large",
        )


async def test_length_over_the_limit_is_413_before_a_byte_of_the_body_is_sent():
    async with serving(body_bytes_max=1_000) as worker:
        head = f"POST {TRACK} HTTP/1.1\r\nHost: x\r\nX-Project-Key: {ANY}\r\nContent-Length: 1001\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
        writer.write(head.encode())
        assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 413")
        writer.close()
        body = json.dumps(event(metadataJson="x" * 2_000)).encode()
        assert (await worker.post(TRACK, body)).error[:2] == (413, "body_too_large")


async def test_every_ingest_route_refuses_metadata_beyond_its_limit_and_keeps_the_others():
    async with serving(metadata_bytes_max=1_000) as worker:
        large = event(metadata={"k": "x" * 992})
        status, code, _ = (await worker.post(TRACK, large)).error
        assert (status, code) == (400, "invalid_event")
        answer = await worker.post(BATCH, [event(), large, event(metadata={"k": "x" * 991})])
        assert (answer.status, answer.json["accepted"], answer.json["rejected"]) == (202, 2, 1)
        assert answer.json["errors"][0] == {
            "index": 1,
            "field": "metadata",
            "error": "metadata has 1001 bytes, at most 1000 are accepted",
            "code": "invalid_event",
        }
        assert (await worker.post(f"{BEACON}?k={ANY}", [event(), large])).status == 204
        assert len(await worker.rows()) == 3
        assert worker.refused("invalid_event") == 3


async def test_limit_holds_for_chunked_bodies_and_exactly():
    async def chunks(total: int):
        body = json.dumps(event(metadataJson="")).encode()
        body = body.replace(b'""', b'"' + b"x" * (total - len(body)) + b'"')
        assert len(body) == total
        for at in range(0, total, 700):
            yield body[at : at + 700]

    async with serving(body_bytes_max=10_000) as worker:
        assert (await worker.post(TRACK, chunks(10_000))).status == 202
        assert (await worker.post(TRACK, chunks(10_001))).error[:2] == (413, "body_too_large")


async def test_large_body_in_pieces_is_put_together():
    async with serving() as worker:
        answer = await worker.post(BATCH, [event(sessionId=str(i), itemId="i" * 900) for i in range(800)])
        assert answer.json["accepted"] == 800
        assert [row["session_id"] for row in await worker.rows()] == [str(i) for i in range(800)]


async def test_hundred_thousand_one_byte_chunks_are_cheap():
    body = json.dumps(event(metadataJson="x" * 100_000)).encode()
    packed = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    head = f"POST {TRACK} HTTP/1.1\r\nHost: x\r\nX-Project-Key: {ANY}\r\nConnection: close\r\n"
    async with serving() as worker:
        started = time.process_time()
        answer = await worker.raw(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + packed)
        assert answer.startswith(b"HTTP/1.1 202")
        assert time.process_time() - started < 1.0


# JSON that is meant to break things: S6. Each is 400, or accepted and stored as it was sent.

NASTY = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b"\xef\xbb\xbf{}",
    b"\x00",
    b"{}\x00",
    b'{"projectId":NaN}',
    b'{"timestamp":1e999}',
    b'{"timestamp":' + b"9" * 5_000 + b"}",
    b'{"timestamp":-1e-999}',
    rb'{"projectId":"\ud800"}',
    rb'{"metadata":{"a":"\udc00"}}',
    b'{"projectId":"\xff"}',
    b'{"x":"\xed\xa0\x80"}',
    b"{} {}",
    b"{}x",
    "[{}]".encode("utf-16"),
]


@pytest.mark.parametrize("path", [TRACK, BEACON, BATCH])
async def test_nasty_json_is_refused_and_never_500(path):
    async with serving() as worker:
        for body in NASTY:
            for wrapped in (body, b"[" + body + b"]"):
                answer = await worker.post(path, wrapped)
                assert answer.status in (204, 400)
        assert (await worker.post(TRACK, event())).status == 202
        assert len(await worker.rows()) == 1


async def test_odd_but_valid_json_is_stored_as_it_was_sent():
    odd = [
        b'{"a":1,"a":2}',
        b'{"n":%s}' % (b"9" * 5_000),
        b'{"n":1e999}',
        rb'{"s":"\u0000\ud83d\ude00"}',
        '{ "ü" : [ ] }'.encode(),
    ]
    async with serving() as worker:
        for metadata in odd:
            body = json.dumps(event(metadata="M", userId="\0")).encode().replace(b'"M"', metadata)
            assert (await worker.post(TRACK, body)).status == 202
        rows = await worker.rows()
        assert [row["metadata_json"].encode() for row in rows] == odd
        assert rows[0]["user_id"] == "\0"


# the log


@pytest.mark.parametrize("path", [TRACK, BEACON, BATCH])
@pytest.mark.parametrize(("error", "code"), [(LogFull("full"), "log_full"), (LogBroken("EIO"), "log_broken")])
async def test_log_that_takes_nothing_is_503_with_retry_after(path, error, code):
    async with serving(log=RefusingLog(error)) as worker:
        body = event() if path == TRACK else [event(), event(), event()]
        answer = await worker.post(path, body)
        assert answer.error == (503, code, None)
        assert int(answer.headers["Retry-After"]) > 0
        assert worker.refused(code) == (1 if path == TRACK else 3)
        assert worker.ingested == 0


async def test_client_that_hangs_up_after_sending_changes_nothing():
    head = f"POST {TRACK} HTTP/1.1\r\nHost: x\r\nX-Project-Key: {ANY}\r\nContent-Length: "
    async with serving() as worker:
        body = json.dumps(event()).encode()
        for _ in range(50):
            _, writer = await asyncio.open_connection("127.0.0.1", worker.port)
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            writer.transport.abort() if worker.ingested % 2 else writer.close()
        await asyncio.sleep(0.2)
        await until_async(lambda: worker.log.durable_lsn == worker.ingested)
        assert len(await worker.rows()) == worker.ingested
        assert (await worker.post(TRACK, event())).status == 202


# rate limit


async def test_flooding_key_gets_429_and_another_key_notices_nothing():
    # A window that does not end meanwhile.
    async with serving(rate_limit_requests=20, rate_limit_window_s=86_400, rate_limit_queue_max=0) as worker:
        answers = await asyncio.gather(*(worker.post(TRACK, event()) for _ in range(50)))
        refused = [answer for answer in answers if answer.status != 202]
        assert len(refused) == 30
        assert refused[0].error == (429, "rate_limited", None)
        assert 1 <= int(refused[0].headers["Retry-After"]) <= 86_400
        assert refused[0].headers["RateLimit-Limit"] == "20"
        assert refused[0].headers["RateLimit-Remaining"] == "0"
        assert 1 <= int(refused[0].headers["RateLimit-Reset"]) <= 86_400
        others = await asyncio.gather(*(worker.post(TRACK, event(), key=BOUND) for _ in range(20)))
        assert {answer.status for answer in others} == {202}
        assert worker.refused("rate_limited") == 30


async def test_queued_request_is_answered_in_the_next_window():
    async with serving(rate_limit_requests=2, rate_limit_window_s=1, rate_limit_queue_max=10) as worker:
        answers = await asyncio.gather(*(worker.post(TRACK, event()) for _ in range(5)))
        assert {answer.status for answer in answers} == {202}


async def test_queued_request_whose_client_hangs_up_leaves_the_queue():
    head = f"POST {TRACK} HTTP/1.1\r\nHost: x\r\nX-Project-Key: {ANY}\r\nContent-Length: "
    async with serving(rate_limit_requests=1, rate_limit_window_s=86_400, rate_limit_queue_max=2) as worker:
        await worker.post(TRACK, event())
        body = json.dumps(event()).encode()
        writers = []
        for _ in range(2):
            _, writer = await asyncio.open_connection("127.0.0.1", worker.port)
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            writers.append(writer)
        await until_async(lambda: worker.memory.rate_queued(0) == 2)
        assert (await worker.post(TRACK, event())).status == 429
        writers[0].close()
        await until_async(lambda: worker.memory.rate_queued(0) == 1)
        writers[1].close()


# What a request costs


async def permits_of(path: str, body: bytes, *, status: int, **headers: str) -> int:
    """How many permits a request takes, by those that are left for the next ones."""
    async with serving(rate_limit_requests=40, rate_limit_window_s=86_400, rate_limit_queue_max=0) as worker:
        assert (await worker.post(path, body, headers=headers)).status == status
        left = 0
        while (await worker.post(TRACK, event())).status == 202:
            left += 1
        return 40 - left


TINY = b'{"projectId":"a","tenantId":"b","sessionId":"c","eventType":"d"}'


@pytest.mark.parametrize(
    ("body", "status", "permits"),
    [
        (TINY, 202, 1),
        (b"[" + b",".join([TINY] * 1_000) + b"]", 202, 1),
        (b"[" + b",".join([TINY] * 1_001) + b"]", 202, 2),
        (b"\n".join([TINY] * 15_000), 202, 15),
        (b"[" + b",".join([b'{"a":"0123456789012345678901234"}'] * 20_000) + b"]", 400, 20),
        (b"[%b%b]" % (TINY, b" " * 500_000), 202, 1),
        (b"[%b%b]" % (TINY, b" " * 600_000), 202, 2),
    ],
    ids=["one event", "1,000", "1,001", "15,000 lines", "20,000 refused", "500 KB", "600 KB"],
)
async def test_large_request_counts_as_several(body, status, permits):
    assert await permits_of(BATCH, body, status=status) == permits
    packed = gzip.compress(body, 1)
    assert await permits_of(BATCH, packed, status=status, **{"Content-Encoding": "gzip"}) == permits


async def test_body_that_needs_more_permits_than_are_left_is_429_and_stores_nothing():
    async with serving(rate_limit_requests=3, rate_limit_window_s=86_400, rate_limit_queue_max=0) as worker:
        answer = await worker.post(BATCH, b"\n".join([TINY] * 15_000))
        assert answer.error[:2] == (429, "rate_limited")
        assert int(answer.headers["Retry-After"]) >= 1
        assert not await worker.rows()
        assert worker.refused("rate_limited") == 1


async def test_body_that_needs_more_permits_than_a_window_has_waits_for_the_next_ones():
    async with serving(rate_limit_requests=2, rate_limit_window_s=1, rate_limit_queue_max=10) as worker:
        answer = await worker.post(BATCH, b"\n".join([TINY] * 5_000))
        assert (answer.status, answer.json["accepted"]) == (202, 5_000)


async def test_long_body_is_stored_whole_or_not_at_all():
    good = b",".join([TINY] * 15_000)
    async with serving() as worker:
        answer = await worker.post(BATCH, b"[%b,{oops]" % good)
        assert answer.error[:2] == (400, "invalid_json")
        assert not await worker.rows()
        answer = await worker.post(BATCH, b"[%b]" % good)
        assert (answer.status, answer.json["accepted"]) == (202, 15_000)
        assert len(await worker.rows()) == 15_000


async def test_event_and_body_beyond_any_limit_are_413():
    async with serving(body_bytes_max=16 << 20) as worker:
        long = json.dumps(event(other="x" * (2 << 20)))
        for path in (TRACK, BEACON, BATCH):
            answer = await worker.post(path, long.encode())
            assert answer.error[:2] == (413, "body_too_large")
        answer = await worker.post(BATCH, b"[" + b",".join([TINY] * 100_001) + b"]")
        assert answer.error[:2] == (413, "body_too_large")
        assert not await worker.rows()


async def test_long_event_is_tracked():
    async with serving(body_bytes_max=2 << 20) as worker:
        answer = await worker.post(TRACK, event(other="x" * 1_000_000, metadata={"a": "y" * 100_000}))
        assert answer.status == 202
        [row] = await worker.rows()
        assert len(row["metadata_json"]) > 100_000


async def test_compressed_bodies_that_come_together_are_not_in_memory_together():
    """Each is a few KB, and becomes 2 MB of JSON and rows."""
    packed = gzip.compress(b"[" + b",".join([json.dumps(event()).encode()] * 9_000) + b"]")
    async with serving() as worker:
        tracemalloc.start()
        try:
            sent = [worker.post(BATCH, packed, headers={"Content-Encoding": "gzip"}) for _ in range(12)]
            answers = await asyncio.gather(*sent)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert [answer.status for answer in answers] == [202] * 12
        assert peak < 15_000_000  # 9 MB; 21 MB if all are worked on at once


async def test_track_goes_on_while_others_send_the_longest_bodies():
    """Both are answered; what it costs in time is measured by `nealytics bench hostile`."""
    async with serving(rate_limit_requests=0) as worker:
        body = gzip.compress(b"[" + b",".join([TINY] * 15_500) + b"]")
        packed = {"Content-Encoding": "gzip"}
        long = [asyncio.create_task(worker.post(BATCH, body, headers=packed)) for _ in range(5)]
        answered, meanwhile = 0, 0
        while not all(task.done() for task in long):
            assert (await worker.post(TRACK, event())).status == 202
            answered += 1
            meanwhile += not all(task.done() for task in long)
        assert [task.result().status for task in long] == [202] * 5
        assert meanwhile > 0
        assert len(await worker.rows()) == 5 * 15_500 + answered


# Client addresses


def behind_proxy(**server: Any) -> ServerConfig:
    return ServerConfig(header_timeout_s=1.0, trusted_proxies=("127.0.0.1", "10.0.0.0/8"), **server)


async def statuses(
    worker: FakeWorker, *forwarded: str, header: str = "X-Forwarded-For", key: str = BOUND
) -> list[int]:
    answers = [await worker.post(TRACK, event(), key=key, headers={header: value}) for value in forwarded]
    return [answer.status for answer in answers]


async def test_visitors_behind_a_trusted_proxy_have_limits_of_their_own():
    limits: dict[str, Any] = {"rate_limit_requests_per_address": 2, "rate_limit_window_s": 86_400}
    async with serving(server=behind_proxy(), **limits) as worker:
        assert await statuses(worker, *["192.0.2.1"] * 3) == [202, 202, 429]
        assert await statuses(worker, *["192.0.2.2", "192.0.2.2, 10.0.0.3"] * 2) == [202, 202, 429, 429]
        # One IPv6 network is one visitor
        assert await statuses(worker, "2001:db8::1", "2001:db8::2", "2001:db8::3") == [202, 202, 429]
        assert await statuses(worker, "2001:db8:0:1::1") == [202]


async def test_visitor_cannot_choose_an_address():
    limits: dict[str, Any] = {"rate_limit_requests_per_address": 2, "rate_limit_window_s": 86_400}
    async with serving(server=behind_proxy(), **limits) as worker:
        # The proxy appends what it sees to what the visitor wrote.
        written = [f"198.51.100.{i}, 192.0.2.1" for i in range(3)]
        assert await statuses(worker, *written) == [202, 202, 429]
        # The other header is the visitor's own.
        other = [f"for=198.51.100.{i}" for i in range(3)]
        assert await statuses(worker, *other, header="Forwarded") == [202, 202, 429]
    async with serving(**limits) as worker:  # no proxy is trusted
        assert await statuses(worker, *[f"198.51.100.{i}" for i in range(3)]) == [202, 202, 429]


async def test_forwarded_header_is_used_where_it_is_set():
    limits: dict[str, Any] = {"rate_limit_requests_per_address": 1, "rate_limit_window_s": 86_400}
    async with serving(server=behind_proxy(forwarded_header="Forwarded"), **limits) as worker:
        sent = ["for=192.0.2.1", 'for="192.0.2.1:80"', 'for="[2001:db8::1]"', "for=192.0.2.2;proto=https"]
        assert await statuses(worker, *sent, header="Forwarded") == [202, 429, 202, 202]


async def test_server_keys_have_no_limit_per_address():
    async with serving(rate_limit_requests_per_address=1, rate_limit_window_s=86_400) as worker:
        assert await statuses(worker, *["192.0.2.1"] * 3, key=ANY) == [202] * 3


async def test_address_that_has_used_up_its_permits_takes_none_of_the_keys():
    limits: dict[str, Any] = {
        "rate_limit_requests": 3,
        "rate_limit_requests_per_address": 1,
        "rate_limit_queue_max": 0,
    }
    async with serving(server=behind_proxy(), rate_limit_window_s=86_400, **limits) as worker:
        assert await statuses(worker, *["192.0.2.1"] * 10) == [202] + [429] * 9
        assert await statuses(worker, "192.0.2.2", "192.0.2.3", "192.0.2.4") == [202, 202, 429]


async def test_large_request_counts_as_several_of_its_address_too():
    limits: dict[str, Any] = {"rate_limit_requests_per_address": 3, "rate_limit_window_s": 86_400}
    async with serving(server=behind_proxy(), **limits) as worker:
        tiny = TINY.replace(b'"a"', b'"shop"')
        answer = await worker.post(BATCH, b"\n".join([tiny] * 5_000), key=BOUND)
        assert answer.error[:2] == (429, "rate_limited")
        assert not await worker.rows()


async def test_proxy_that_is_not_trusted_is_named_once(caplog):
    async with serving() as worker:
        await statuses(worker, "192.0.2.1", "192.0.2.1")
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert len(warnings) == 1
        assert "127.0.0.1 sends X-Forwarded-For and is not in server.trusted_proxies" in warnings[0]


async def test_log_names_the_client_and_not_the_proxy(caplog):
    async with serving(log=RefusingLog(LogFull("full")), server=behind_proxy()) as worker:
        assert await statuses(worker, "198.51.100.1, 192.0.2.1") == [503]
        assert [getattr(record, "client", None) for record in caplog.records] == ["192.0.2.1"]


# Ids that a public key sends


async def stored_ids(worker: FakeWorker) -> list[UUID]:
    return [row["event_id"] for row in await worker.rows()]


@pytest.mark.parametrize("path", [TRACK, BEACON, BATCH])
async def test_id_from_a_browser_is_stored_as_what_it_comes_to_with_the_key(path):
    sent = {"eventId": str(UUID(int=7)), "timestamp": int(time.time() * 1000)}
    async with serving() as worker:
        for session in ("a", "a", "b"):  # a retry, and a repetition with other content
            await worker.post(path, event(sessionId=session, **sent), key=BOUND)
        await worker.post(path, event(**sent | {"eventId": str(UUID(int=8))}), key=BOUND)
        await worker.post(path, event(**sent), key=ANY)
        first, again, changed, other, trusted = await stored_ids(worker)
    assert first == again == changed
    assert trusted == UUID(int=7)
    assert len({first, other, trusted}) == 3
    assert (first.version, first.variant) == (8, RFC_4122)


async def test_browser_that_knows_a_stored_id_cannot_send_it():
    moment = int(time.time() * 1000)
    async with serving() as worker:
        # What another browser sent, what a server sent, and what was given its id here.
        await worker.post(TRACK, event(eventId=str(UUID(int=7)), timestamp=moment), key=BOUND)
        await worker.post(TRACK, event(eventId=str(UUID(int=9)), timestamp=moment), key=ANY)
        await worker.post(TRACK, event(timestamp=moment), key=BOUND)
        known = await stored_ids(worker)
        for stored in known:
            await worker.post(TRACK, event(eventId=str(stored), timestamp=moment), key=BOUND)
        assert len(set(await stored_ids(worker))) == 2 * len(known)


async def test_time_in_an_id_from_a_browser_is_taken_before_it_changes():
    moment = int(time.time() * 1000) - 5_000
    sent_id = UUID(int=moment << 80 | 7 << 76 | 0b10 << 62 | 5)
    async with serving() as worker:
        for body in (event(eventId=str(sent_id)), event(eventId=str(sent_id))):
            await worker.post(TRACK, body, key=BOUND)
        await worker.post(BATCH, [event(eventId=str(sent_id))], key=BOUND)
        rows = await worker.rows()
    assert {row["timestamp"] for row in rows} == {moment}
    assert len({row["event_id"] for row in rows}) == 1
    assert rows[0]["event_id"].version == 8


async def test_event_without_an_id_has_one_made_here_with_every_key():
    async with serving() as worker:
        for key in (BOUND, ANY):
            await worker.post(TRACK, event(), key=key)
        assert [stored.version for stored in await stored_ids(worker)] == [7, 7]


@pytest.mark.parametrize("wait", ["abc", "yes", "2", "\ufffd"])
async def test_a_wait_that_is_neither_true_nor_false_is_refused_and_nothing_is_stored(wait):
    async with serving() as worker:
        answer = await worker.post(BATCH, [event()], params={"wait": wait})
        assert answer.error == (400, "invalid_parameter", "wait")
        assert not await worker.rows()
        assert worker.refused("invalid_parameter") == 1
        assert (await worker.post(BATCH, [event()], params=[("wait", "1"), ("WAIT", "0")])).error == (
            400,
            "invalid_parameter",
            "wait",
        )
        for waits in ("false", "0", "", " "):
            assert (await worker.post(BATCH, [event()], params={"wait": waits})).status == 202


@pytest.mark.parametrize("params", [{"wait": "TRUE"}, {"WAIT": "1"}])
async def test_a_wait_may_have_any_case(params):
    async with serving() as worker:
        answer = await worker.post(BATCH, [event()], params=params)
        assert "committed" in answer.json


# quotas


def month() -> str:
    return f"{datetime.now(UTC):%Y-%m}"


async def test_a_used_up_quota_is_429_with_what_was_used_and_when_it_begins_again():
    quotas = Quotas([QuotaRule(project="shop", tenant="t1", events_per_month=2)])
    async with serving(quotas=quotas) as worker:
        for path, sent in ((TRACK, event()), (BATCH, [event()])):
            assert (await worker.post(path, sent)).status == 202
        for path, sent in ((TRACK, event()), (BATCH, [event(), event()]), (BEACON, event())):
            answer = await worker.post(path, sent)
            assert answer.error == (429, "quota_exceeded", None)
            assert answer.json["message"] == (
                f"tenant 't1' of project 'shop' has used 2 of its 2 events of {month()}"
            )
            assert "The count begins again at " in answer.json["detail"]
            assert 0 < int(answer.headers["Retry-After"]) <= 31 * 86_400
        assert (await worker.post(TRACK, event(tenantId="t2"))).status == 202
        assert len(await worker.rows()) == 3
        assert worker.refused("quota_exceeded") == 4


async def test_of_a_batch_that_reaches_the_limit_the_first_events_are_accepted_and_the_others_listed():
    quotas = Quotas([QuotaRule(project="shop", tenant="t1", events_per_month=3)])
    async with serving(quotas=quotas) as worker:
        sent = [event(itemId=str(number)) for number in range(5)]
        sent.insert(1, event(sessionId=None))
        answer = await worker.post(BATCH, [*sent, event(tenantId="t2")])
        assert answer.status == 202
        assert (answer.json["accepted"], answer.json["rejected"]) == (4, 3)
        assert [error["index"] for error in answer.json["errors"]] == [1, 4, 5]
        assert "has used 3 of its 3 events" in answer.json["errors"][1]["error"]
        assert [row["item_id"] for row in await worker.rows()] == ["0", "1", "2", None]
        assert worker.refused("quota_exceeded") == 2


LONG = json.dumps([event(itemId=str(number)) for number in range(4_000)]).encode()


@pytest.mark.parametrize(
    ("path", "body", "options", "status"),
    [
        (TRACK, event(), {"log": RefusingLog(LogFull("full"))}, 503),
        (TRACK, event(metadata={"text": "x" * 200_000}), {"log": RefusingLog(LogBroken("EIO"))}, 503),
        (BEACON, [event()] * 2, {"log": RefusingLog(LogFull("full"))}, 503),
        (BATCH, LONG, {"log": RefusingLog(LogFull("full"))}, 503),
        (BATCH, LONG[:-1], {}, 400),
        (
            BATCH,
            [event(), event(metadata={"text": "x" * 200_000}), 5, "["],
            {"log": RefusingLog(LogFull(""))},
            503,
        ),
        (BATCH, LONG, {"rate_limit_requests": 2, "rate_limit_queue_max": 0}, 429),
    ],
)
async def test_a_request_of_which_nothing_is_stored_uses_no_quota(path, body, options, status):
    quotas = Quotas([QuotaRule(project="shop", events_per_month=3_999)])
    async with serving(quotas=quotas, rate_limit_window_s=86_400, **options) as worker:
        assert (await worker.post(path, body)).status == status
        assert [share.used for share in quotas.shares()] == [0]


async def test_events_that_a_key_must_not_write_use_no_quota():
    quotas = Quotas(
        [QuotaRule(project="x", events_per_month=1), QuotaRule(project="shop", events_per_month=1)]
    )
    async with serving(quotas=quotas) as worker:
        assert (await worker.post(TRACK, event(projectId="x"), key=BOUND)).status == 403
        assert (await worker.post(TRACK, event(eventType=""), key=BOUND)).status == 400
        assert (await worker.post(TRACK, event(), key=BOUND)).status == 202
        assert (await worker.post(TRACK, event(projectId="x"))).status == 202
