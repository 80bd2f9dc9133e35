"""The compiled reader of plain events against the Python code, which is the reference: what it reads, it reads
alike, and what the reference refuses it does not read. `NEALYTICS_FUZZ=1000000` tries that many bodies."""

# ruff: noqa: E501

import os
import random
import sys
from collections.abc import Sequence

import msgspec
import pytest

from nealytics.auth.grant import Grant
from nealytics.clickhouse.rowbinary import encode_row, id_of
from nealytics.event import InvalidEvent, Limits, decode_event, is_utf8, split_array
from nealytics.ingest.parser import accept
from nealytics.ingest.plain import KnownHeads, compiled_reader, plain_reader, read_known

NOW = 1_800_000_000_123
LIMITS = Limits(
    identifier_chars_max=20, item_id_chars_max=30, age_ms_max=400 * 86_400_000, future_ms_max=3_600_000
)
SERVER = Grant(0, "", "", "server")
GRANTS = [
    SERVER,
    SERVER,
    Grant(0, "acme", "", "server"),
    Grant(0, "acme", "acme", "server"),
    Grant(0, "", "a", "server"),
    Grant(0, "acme", "", "browser", b"d" * 32),
    Grant(-1, "acme", "a", "token", b"d" * 32, user="ada"),
    Grant(-1, "acme", "acme", "token", b"d" * 32, user="acme"),
]
EVENT = b'{"projectId":"acme","tenantId":"acme","sessionId":"s","eventType":"t"}'
pytestmark = pytest.mark.skipif(
    plain_reader(NOW, LIMITS, SERVER) is None, reason="the compiled reader is not built: no C compiler"
)
CASES = int(os.environ.get("NEALYTICS_FUZZ", 20_000))

ID = "01234567-89ab-7def-8123-456789abcdef"
TEXTS = [
    '"acme"', '"a"', '""', '"ä😀"', '"\\u00e4\\ud83d\\ude00"', '"\\ud83d"', '"\\udc00\\ud83d"', '"a\\"\\\\\\/\\b\\f\\n\\r\\t"',
    '"12345678901234567890"', '"123456789012345678901"', '"äääääääääääääääääääää"', '"\\u00e4äääääääääääääääääää"',
    '"\\u0000"', '"\\x"', '"\\u12"', '"\\uD83D\\uDE00"', '"\\uD83D\\u0041"', '"a\x7fb"', '"a\tb"', '"a\nb"', "null", "1", "true",
    '{"a":1}', "[]", '"unended', '"\x01"', '"' + "x" * 127 + '"', '"' + "x" * 128 + '"', '"' + "\\n" * 100 + '"',
]  # fmt: skip
NUMBERS = [
    "0", "-0", "1", "-1", "12.5", "1e3", "1E+3", "1e-30", "1e999", "1e400", "-1.5e10", "01", "1.", ".5", "1e", "+1", "-",
    "123456789012345678901234567890", "1" * 40, "0.1e1", "0e0", "NaN", "Infinity", "1_000", "0x1",
]  # fmt: skip
OBJECTS = [
    '{"a":"\\"\\n\\u00e4\\\\"}', "{}", '{"a":1}', '{"a":[1,2,{"b":"}"}],"c":null}', '{ "a" : true , "b" : false }', '{"a":1,}', '{"a"}', "{1:2}",
    '{"a":tru}', '{"a":"\\u00zz"}', '{"a":"\\ud800"}', '{"a":[1 2]}', '{"a":[1}', '{"a":{"b":]}}', '{"a":nul}', '{"a":1 "b":2}',
    '{"\\u0061":"\\/"}', '{"ä":"😀"}', '{"a":[]}', '{"a":[ ]}', '{"a":[,]}', '{"":""}', '{"a":"' + "x" * 500 + '"}', '{"a":' + "[" * 70 + "]" * 70 + "}",
    '{"a":' + "[" * 40 + "]" * 40 + "}", "{\n}", '{"a":\n1}', '{"a":"\n"}',
]  # fmt: skip
TIMES = [
    str(NOW - 1000), "null", "0", "-1", str(NOW), str(NOW - 5), str(NOW + 3_600_000), str(NOW + 3_600_001), "1799999999999.7", "1.8e12",
    str(NOW - 400 * 86_400_000), str(NOW - 400 * 86_400_000 - 1), "1" * 16, "01",
    '"2027-01-15T08:00:00Z"', '"2027-01-15T08:00:00.1Z"', '"2027-01-15T08:00:00.123Z"', '"2027-01-15T08:00:00.123456789Z"',
    '"2027-01-15T08:00:00.Z"', '"2027-01-15T08:00:00+00:00"', '"2027-01-15T08:00:00.9999+00:00"', '"2027-01-15T08:00:00+01:00"',
    '"2027-01-15T08:00:00"', '"2027-01-15 08:00:00Z"', '"2027-01-15t08:00:00z"', '"2026-02-29T00:00:00Z"', '"2026-02-28T23:59:59Z"',
    '"2026-12-31T23:59:60Z"', '"2026-13-01T00:00:00Z"', '"2026-00-01T00:00:00Z"', '"2026-06-31T00:00:00Z"', '"2026-06-15T24:00:00Z"',
    '"2026-06-15T10:60:00Z"', '"20260615T103000Z"', '"2026-W25-1"', '"2026-06-15"', '"0000-01-01T00:00:00Z"', '"９999-01-01T00:00:00Z"',
    '"2026-06-15T10:30:00,5Z"', '""', "true", "{}", '"2026-06-15T10\\u003a30:00Z"', '"2026-06-1５T10:30:00Z"',
]  # fmt: skip
IDS = [
    f'"{ID}"', f'"{ID.upper()}"', "null", '""', f'"{ID.replace("-", "")}"', f'"{{{ID}}}"', f'"urn:uuid:{ID}"', "1",
    '"01234567-89ab-4def-8123-456789abcdef"', '"01234567089ab-4def-8123-456789abcdef"', '"g1234567-89ab-4def-8123-456789abcdef"',
    '"ffffffff-ffff-7fff-bfff-ffffffffffff"', '"019b76da-a87b-7def-8123-456789abcdef"', '"01234567-89ab-7def-8123-456789abcde\\u0066"',
]  # fmt: skip
VALUES = {
    "projectId": TEXTS, "tenantId": TEXTS, "sessionId": TEXTS, "eventType": TEXTS, "userId": TEXTS, "itemId": TEXTS,
    "metadataJson": [*TEXTS, '"{}"', '"{\\"a\\":1}"'], "metadata": [*OBJECTS, *NUMBERS, *TEXTS], "eventId": IDS, "timestamp": TIMES,
    "other": [*NUMBERS, *OBJECTS, *TEXTS], "projectid": TEXTS, "project\\u0049d": TEXTS, "ID": NUMBERS, "": NUMBERS,
}  # fmt: skip
BLANKS = ["", "", "", "", " ", "\t", "\r", "\n", "  ", "\v", "\ufeff"]


def reference(text: bytes, lines: bool, limits: Limits, grant: Grant) -> list[tuple[bytes, bool]] | None:
    """The rows of all elements, and whether their ids were sent; None if any is refused."""
    try:
        if not is_utf8(text):
            return None
        elements: Sequence[bytes]
        if lines:
            elements = [line for line in text.split(b"\n") if line.strip(b" \t\r\n")]
        else:
            elements = [bytes(raw) for raw in split_array(b"[%b]" % text)]
        found = []
        for element in elements:
            sent = decode_event(element)
            event = accept(sent, NOW, limits, grant)
            found.append((encode_row(event, NOW), sent.event_id is not None))
        return found
    except InvalidEvent:
        return None


def plain(
    text: bytes, lines: bool = False, limits: Limits = LIMITS, grant: Grant = SERVER
) -> list[bytes] | None:
    read = plain_reader(NOW, limits, grant)
    assert read is not None
    return read(text, b"\n" if lines else b",")


@pytest.mark.parametrize(
    "fixed", [Grant(0, "acme", "", "server"), Grant(-1, "acme", "a", "token", b"d" * 32, user="ada")]
)
def test_what_the_sender_fixes_may_be_omitted_and_nothing_else_is_accepted(fixed: Grant):
    own = f'"eventId":"{ID}","timestamp":{NOW},"sessionId":"s","eventType":"t"'
    sent = (
        f"{{{own}}}",
        f'{{{own},"projectId":"acme","tenantId":"a","userId":"ada"}}',
        f'{{{own},"projectId":"","tenantId":"a","userId":null}}',
    )
    assert len({row for text in sent[1:] for row in plain(text.encode(), grant=fixed) or [b"?"]}) == (
        1 if fixed.user else 2
    )
    for text in sent:
        found = plain(text.encode(), grant=fixed)
        assert found == (None if not fixed.tenant and "tenantId" not in text else [
            row for row, _ in reference(text.encode(), False, LIMITS, fixed) or []
        ])  # fmt: skip
    for field in ("projectId", "userId" if fixed.user else "projectId"):
        assert plain(f'{{{own},"{field}":"eve"}}'.encode(), grant=fixed) is None


def test_ids_of_public_senders_are_hashed_and_new_ones_are_not():
    rest = '"projectId":"acme","tenantId":"a","sessionId":"s","eventType":"t"'
    public = Grant(0, "acme", "", "browser", b"d" * 32)
    made = plain(f"{{{rest}}}".encode(), grant=public) or []
    assert [id_of(row)[6] >> 4 for row in made] == [7]
    sent = f'{{{rest},"eventId":"{ID}","timestamp":{NOW}}}'
    hashed = plain(sent.encode(), grant=public) or []
    assert [id_of(row)[6] >> 4 for row in hashed] == [8]
    assert plain(f"{sent},{{{rest}}}".encode(), grant=public) is None


def an_event(rng: random.Random, oddness: float) -> str:
    def value(name: str) -> str:
        values = VALUES[name]
        return rng.choice(values) if rng.random() < oddness else values[0]

    names = ["projectId", "tenantId", "sessionId", "eventType", "eventId", "timestamp"]
    names += [name for name in ("userId", "itemId", "metadata", "metadataJson") if rng.random() < 0.5]
    while rng.random() < oddness:
        names.append(rng.choice(list(VALUES)))
    if rng.random() < oddness:
        names.pop(rng.randrange(len(names)))
    rng.shuffle(names)

    def blank() -> str:
        return rng.choice(BLANKS) if rng.random() < oddness else ""

    fields = (f'{blank()}"{name}"{blank()}:{blank()}{value(name)}{blank()}' for name in names)
    return f"{blank()}{{{','.join(fields)}}}{blank()}"


def mutated(rng: random.Random, text: bytes) -> bytes:
    data = bytearray(text)
    for _ in range(rng.randrange(1, 3)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data[at:at] = rng.choice(
                [b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"\n", b" ", b"\0", b"\xff", b"1"]
            )
        elif kind == 1:
            del data[at : at + rng.randrange(1, 4)]
        elif kind == 2 and at < len(data):
            data[at] = rng.randrange(256)
        else:
            del data[at:]
    return bytes(data)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize(("oddness", "read_min"), [(0.02, 0.2), (0.2, 0.005)])
def test_whatever_it_reads_is_what_the_reference_reads(oddness: float, read_min: float, lines: bool):
    rng = random.Random(f"{oddness} {lines}")
    read = 0
    for _ in range(CASES // 4):
        events = [an_event(rng, oddness) for _ in range(rng.randrange(1, 4))]
        text = ("\n" if lines else ",").join(events).encode()
        if rng.random() < 0.3:
            text = mutated(rng, text)
        grant = rng.choice(GRANTS)
        found = plain(text, lines, grant=grant)
        if found is None or not is_utf8(text):
            continue
        read += 1
        expected = reference(text, lines, LIMITS, grant)
        assert expected is not None, text
        for row, (other, id_was_sent) in zip(found, expected, strict=True):
            assert row[16:] == other[16:], text
            if id_was_sent:
                assert row[:16] == other[:16], text
            else:
                made = int.from_bytes(row[7::-1] + row[15:7:-1])
                assert (made >> 80, made >> 76 & 15, made >> 62 & 3) == (NOW, 7, 2)
    assert read > CASES // 4 * read_min


def test_ids_that_it_makes_are_different_also_in_copies_of_the_process():
    text = b",".join([EVENT] * 1000)
    plain(EVENT)  # leaves random bytes for more ids
    parent, child = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(child, b"".join(row[:16] for row in plain(text) or []))
        os._exit(0)
    os.close(child)
    with open(parent, "rb") as copy:
        others = copy.read()
    os.waitpid(pid, 0)
    ids = {row[:16] for row in plain(text) or []} | {others[at : at + 16] for at in range(0, len(others), 16)}
    assert len(ids) == 2000


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 129, 16_383, 16_384, 70_000])
def test_texts_of_any_length_are_encoded_as_the_reference_does(size: int):
    text = EVENT[:-1] + b',"metadataJson":"%b"}' % (b"\\n" * (size % 2) + b"x" * (size - size % 2))
    assert [row[16:] for row in plain(text) or []] == [
        row[16:] for row, _ in reference(text, False, LIMITS, SERVER) or []
    ]


@pytest.mark.parametrize("before", [b"", b'"userId":"a\\"b",', b'"other":"\\n",'])
def test_an_object_is_stored_byte_for_byte_whatever_stands_before_it(before: bytes):
    metadata = b'{ "note": "she said \\"hi\\"\\u00e4" , "n":1.10}'
    text = b"{%b" % before + b'"metadata":%b,' % metadata + EVENT[1:]
    for _ in range(2):
        assert metadata in (plain(b",".join([text, text])) or [b""])[1]


@pytest.mark.parametrize("size", [2, 3, 126, 127, 128, 129, 16_383, 16_384])
def test_metadata_up_to_its_limit_is_read(size: int):
    text = EVENT[:-1] + b',"metadata":{%b}}' % (b" " * (size - 2))
    for most in (size - 1, size, size + 1):
        limits = msgspec.structs.replace(LIMITS, metadata_bytes_max=most)
        assert (plain(text, limits=limits) is None) == (reference(text, False, limits, SERVER) is None)


def test_every_cut_of_an_event_is_left_to_the_reference():
    text = EVENT[:-1] + b',"metadata":{"a":["\\u00e4\\ud83d\\ude00",-1.5e3,true,null]}}'
    assert plain(text)
    for end in range(1, len(text)):
        assert plain(text[:end]) is None, text[:end]


def test_nothing_else_than_events_is_read():
    assert plain(b"") is None
    assert plain(b"[]") is None
    assert plain(EVENT + b",") is None
    assert plain(b"," + EVENT) is None
    assert plain(EVENT + EVENT) is None
    assert plain(EVENT + b"\n" + EVENT) is None
    assert plain(EVENT + b"," + EVENT, lines=True) is None
    assert plain(b"", lines=True) == []
    assert len(plain(b"\n \n" + EVENT + b"\r\n\n\n" + EVENT + b"\n", lines=True) or []) == 2


HEAD = b"POST /x HTTP/1.1\r\nContent-Length: %d"


def known(text: bytes, *, limits: Limits = LIMITS, grant: Grant = SERVER) -> KnownHeads[str]:
    return {HEAD % len(text): (compiled_reader(limits, grant), "it", len(text))}


def test_a_request_with_a_known_head_is_read_as_its_event():
    rng = random.Random(7)
    read = 0
    for _ in range(CASES // 4):
        text = an_event(rng, rng.choice([0.02, 0.2])).encode()
        grant = rng.choice([grant for grant in GRANTS if not grant.is_public])
        found = read_known(HEAD % len(text) + b"\r\n\r\n" + text, known(text, grant=grant), NOW)
        rows = plain(text, grant=grant) if text.isascii() else None
        if rows is None or len(rows) != 1:
            assert found is None
            continue
        read += 1
        assert found is not None
        assert found[0] == "it"
        # What is made here differs.
        assert found[1][16:] == rows[0][16:]
        assert found[1][:16] == rows[0][:16] or b'"eventId":"' not in text
    assert read > CASES // 100


@pytest.mark.parametrize(
    "data",
    {
        "no head": b"",
        "no end of the head": HEAD % len(EVENT) + b"\r\n" + EVENT,
        "another head": b"POST /y HTTP/1.1\r\nContent-Length: 70\r\n\r\n" + EVENT,
        "a cut body": HEAD % len(EVENT) + b"\r\n\r\n" + EVENT[:-1],
        "more than one request": (HEAD % len(EVENT) + b"\r\n\r\n" + EVENT) * 2,
        "another event": HEAD % len(EVENT) + b"\r\n\r\n" + EVENT[:-1] + b"]",
        "two events": HEAD % 0 + b"\r\n\r\n",
        "a long head": HEAD % len(EVENT) + b"\r\nX: " + b"x" * 2000 + b"\r\n\r\n" + EVENT,
    }.values(),
)
def test_other_requests_are_not_read(data: bytes):
    assert read_known(data, known(EVENT), NOW) is None


def test_the_size_of_a_reader_is_that_of_its_texts():
    sizes = [sys.getsizeof(compiled_reader(LIMITS, Grant(0, "p" * n, "", "server"))) for n in (10, 200)]
    assert sizes[1] - sizes[0] == 190
    assert sizes[1] < 1_000


def test_a_long_event_of_a_known_head_is_read():
    text = EVENT[:-1] + b',"metadata":{"a":"%s"}}' % (b"x" * 10_000)
    found = read_known(HEAD % len(text) + b"\r\n\r\n" + text, known(text), NOW)
    assert found is not None
    assert b"x" * 10_000 in found[1]
