"""Which events a live stream shows as new, without a clock, a socket or ClickHouse."""

import pytest

from nealytics.http import live_window
from nealytics.http.live_window import Resumption, Window, unseen
from nealytics.queries import live
from nealytics.queries.live import New, Page


def new(key: str, at_ms: int) -> New:
    return New(at_ms, key.encode(), b"{}")


def keys(events: list[New]) -> str:
    return "".join(event.key.decode() for event in events)


def query(window: Window, now_ms: int, *events: New) -> str:
    """One complete query; the keys of what is new."""
    window.begin(now_ms)
    return keys(window.add(Page(list(events), True)))


def test_a_query_covers_the_overlap_again_and_shows_an_event_once():
    window = Window(overlap_ms=100)
    assert query(window, 1_000, new("a", 950)) == "a"
    assert (window.position_ms, window.since_ms) == (1_000, 900)
    assert query(window, 1_050, new("a", 950), new("b", 940)) == "b"
    assert (window.position_ms, window.since_ms) == (1_050, 950)


def test_an_event_that_was_inserted_again_is_still_the_same_event():
    window = Window(overlap_ms=100)
    assert query(window, 1_000, new("a", 950)) == "a"
    assert query(window, 1_040, new("a", 1_030)) == ""
    assert query(window, 1_120, new("a", 1_030)) == "", "the later copy is what the next query finds"


def test_a_query_of_several_pages_moves_the_window_at_its_end():
    window = Window(overlap_ms=100)
    query(window, 1_000)
    window.begin(2_000)
    page = [new("a", 1_500), new("b", 1_600)]
    assert keys(window.add(Page(page, False))) == "ab"
    assert (window.after, window.position_ms, window.since_ms) == (page[-1], 1_000, 900)
    assert keys(window.add(Page([new("c", 1_700)], True))) == "c"
    assert (window.after, window.position_ms, window.since_ms) == (None, 2_000, 1_900)


def test_a_clock_that_goes_back_does_not_move_the_window_back():
    """A replica may answer whose clock is behind."""
    window = Window(overlap_ms=100)
    query(window, 1_000)
    query(window, 500)
    assert (window.position_ms, window.since_ms) == (1_000, 900)


def test_keys_outside_of_every_later_query_are_forgotten():
    window = Window(overlap_ms=100)
    query(window, 1_000, new("a", 950))
    query(window, 1_050, new("b", 1_020))
    assert window._seen == {b"b": 1_020}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_window, "SEEN_MAX", 4)
    seen: dict[bytes, int] = {}
    assert keys(unseen([new(key, 1) for key in "abcde"], seen)) == "abcde"
    assert list(seen) == [b"d", b"e"]


def test_a_stream_resumes_from_its_last_message_less_the_overlap():
    window = Window(overlap_ms=100)
    query(window, 10_000)
    resumption = Resumption(window, 9_000)
    assert (resumption.gap, resumption.since_ms) == (None, 8_900)


def test_an_id_of_the_future_resumes_from_now():
    window = Window(overlap_ms=100)
    query(window, 10_000)
    assert Resumption(window, 1 << 50).since_ms == 9_900


def test_a_long_interruption_leaves_a_gap_that_is_named():
    window = Window(overlap_ms=100)
    now_ms = 2 * live.RESUME_MS_MAX
    query(window, now_ms)
    resumption = Resumption(window, 1_000)
    first_ms = now_ms - live.RESUME_MS_MAX
    assert (resumption.gap, resumption.since_ms) == ((1_000, first_ms), first_ms - 100)


def test_what_the_stream_has_read_itself_is_not_shown_again_when_the_hub_finds_it():
    window = Window(overlap_ms=100)
    query(window, 1_000)
    resumption = Resumption(window, 500)
    assert keys(resumption.add([new("a", 600), new("b", 950)])) == "ab"
    assert keys(resumption.add([new("b", 950)])) == ""
    resumption.finish()
    found = [new("b", 950), new("c", 960)]
    assert keys(resumption.without_shown(found, is_latest=False)) == "c"
    query(window, 1_200)
    assert keys(resumption.without_shown([new("d", 1_190)], is_latest=True)) == "d"
    # No later query of the hub finds the events that the stream has read itself.
    assert resumption._shown == {}
