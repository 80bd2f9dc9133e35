"""What is encoded in slices has the bytes of what is encoded at once."""

import hashlib
import random

import msgspec
import pytest

from nealytics.errors import Refused
from nealytics.http.sending import encoded
from nealytics.http.unread import Unread
from nealytics.pace import SLICE_BYTES
from nealytics.queries import ENDPOINTS
from nealytics.queries.endpoint import Answer
from nealytics.queries.params import Warn


class Item(msgspec.Struct, omit_defaults=True, rename="camel"):
    text_of_it: str
    nothing: str | None = None


class Listed(Answer, kw_only=True):
    first_list: list[Item] = []  # noqa: RUF012
    between: int = 7
    second_list: list[int] = []  # noqa: RUF012
    last_of_all: str | None = None


def listed(counts: tuple[int, int], size: int) -> Listed:
    chance = random.Random(3)
    texts = ['a "text"', "\0\n\t\\", "café 🙂", "x" * size, ""]
    items = [Item(chance.choice(texts), chance.choice([None, "b"])) for _ in range(counts[0])]
    return Listed(
        project_id='shop "\0"',
        warnings=[Warn("truncated", "there is more")],
        first_list=items,
        second_list=list(range(counts[1])),
        last_of_all="end" if counts[1] % 2 else None,
    )


@pytest.mark.parametrize("counts", [(0, 0), (1, 64), (64, 65), (65, 1), (3_000, 10_001)])
@pytest.mark.parametrize("size", [1, 3_000])
async def test_the_bytes_are_those_of_the_whole(counts: tuple[int, int], size: int):
    answer = listed(counts, size)
    unread = Unread(1 << 40)
    with unread.charge("me") as charge:
        body = await encoded(answer, charge)
        whole = b"".join(body.pieces)
        assert whole == msgspec.json.encode(answer)
        assert body.size == len(whole) == unread.bytes
        assert body.tag == f'"{hashlib.blake2b(whole, digest_size=16).hexdigest()}"'


async def test_pieces_are_small_whatever_the_size_of_the_elements():
    answer = listed((3_000, 0), 3_000)
    with Unread(1 << 40).charge("me") as charge:
        body = await encoded(answer, charge)
    assert len(body.pieces) > 10
    assert max(map(len, body.pieces)) < 5 * SLICE_BYTES


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
async def test_every_endpoint_s_answer_comes_out_as_it_is(endpoint):
    with Unread(1 << 40).charge("me") as charge:
        body = await encoded(endpoint.example, charge)
    assert b"".join(body.pieces) == msgspec.json.encode(endpoint.example)


async def test_an_answer_beyond_the_budget_is_refused_while_it_is_made():
    unread = Unread(1 << 20)
    with unread.charge("me") as charge, pytest.raises(Refused):
        await encoded(listed((3_000, 0), 3_000), charge)
    assert unread.bytes == 0
