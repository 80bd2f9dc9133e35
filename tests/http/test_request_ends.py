"""The count that tells where aiohttp's parser stands. Wrong in one direction only: it may not know."""

import pytest

from nealytics.http.request_ends import RequestEnds

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"


class FakeBody:
    def __init__(self, total_bytes: int, *, is_whole: bool = True) -> None:
        self.total_bytes = total_bytes
        self.is_whole = is_whole

    def is_eof(self) -> bool:
        return self.is_whole


def test_a_whole_request_ends_where_its_bytes_end():
    ends = RequestEnds()
    assert ends.is_between
    ends.fed(HEAD + b"body", [FakeBody(4)])
    assert ends.is_between


@pytest.mark.parametrize("at", range(1, len(HEAD)))
def test_a_head_that_arrives_in_two_parts_is_counted(at):
    ends = RequestEnds()
    ends.fed(HEAD[:at], [])
    assert not ends.is_between
    ends.fed(HEAD[at:], [FakeBody(0)])
    assert ends.is_between


def test_a_body_that_arrives_later_is_counted():
    ends, body = RequestEnds(), FakeBody(2, is_whole=False)
    ends.fed(HEAD + b"bo", [body])
    assert not ends.is_between
    body.total_bytes, body.is_whole = 4, True
    ends.fed(b"dy", [])
    assert ends.is_between
    ends.fed(HEAD, [FakeBody(0)])
    assert ends.is_between


def test_a_body_that_the_parser_releases_without_new_bytes_is_counted():
    ends, body = RequestEnds(), FakeBody(1, is_whole=False)
    ends.fed(HEAD + b"body", [body])
    body.total_bytes, body.is_whole = 4, True
    ends.fed(b"", [])
    assert ends.is_between
    ends.fed(b"", [])
    assert ends.is_between


def test_the_beginning_of_a_next_request_behind_a_whole_one_is_noticed():
    ends = RequestEnds()
    ends.fed(HEAD + b"bodyPOST", [FakeBody(4)])
    assert not ends.is_between
    ends.fed(b" / HTTP/1.1\r\nHost: x\r\n\r\n", [FakeBody(0)])
    assert not ends.is_between


def test_chunks_and_several_requests_in_one_read_stay_unknown():
    for data, bodies in (
        (HEAD + b"4\r\nbody\r\n0\r\n\r\n", [FakeBody(4)]),
        (HEAD + HEAD, [FakeBody(0), FakeBody(0)]),
    ):
        ends = RequestEnds()
        ends.fed(data, [*bodies])
        assert not ends.is_between
        ends.fed(HEAD, [FakeBody(0)])
        assert not ends.is_between


def test_bytes_without_the_end_of_a_head_are_not_kept():
    """aiohttp drops what follows a request that it refused."""
    ends = RequestEnds()
    for _ in range(100):
        ends.fed(b"x" * 64 * 1024, [])
    assert not ends.is_between
    assert len(ends._head) < 256 * 1024
