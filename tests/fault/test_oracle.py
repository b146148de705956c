"""The oracle itself: it must see each single event that is missing or counted too often."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streaming.event import SIGNUP, UserEvent
from streaming.fold import Fold
from streaming.profile import UNKNOWN, Profile
from tests.fault.oracle import compare, compare_dead_letters, compare_log, counting, crowd
from tests.shop import CATALOGUE, ITEMS
from tests.streams import DAY, NOON, rating

EVENTS = crowd(random.Random(3), users=4, events=140)
ACTS = [place for place, event in enumerate(EVENTS) if event.type != SIGNUP]


def folded(events: list[UserEvent]) -> dict[str, Profile]:
    """Their profiles."""
    fold, profiles = Fold(CATALOGUE, ITEMS), dict[str, Profile]()
    for event in events:
        profiles[event.user_id] = fold(profiles.get(event.user_id, UNKNOWN), event)
    return profiles


def test_events_in_any_order_are_as_they_must_be() -> None:
    shuffled = random.Random(5).sample(EVENTS, len(EVENTS))
    assert compare(folded(shuffled), EVENTS).clean


@pytest.mark.parametrize("place", ACTS[:20] + ACTS[-20:])
def test_a_single_event_is_missed(place: int) -> None:
    verdict = compare(folded(EVENTS[:place] + EVENTS[place + 1 :]), EVENTS)
    assert (verdict.lost, verdict.doubled) == (1, 0)


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("place", [ACTS[0], ACTS[-1]])
def test_an_event_counted_again_is_noticed(place: int, times: int) -> None:
    verdict = compare(folded(EVENTS + times * [EVENTS[place]]), EVENTS)
    assert verdict.doubled >= times


def test_one_lost_and_one_doubled_do_not_cancel() -> None:
    ours = [place for place in ACTS if EVENTS[place].user_id == "user-1" and EVENTS[place].value]
    lost, doubled = ours[0], ours[1]
    verdict = compare(folded([*EVENTS[:lost], *EVENTS[lost + 1 :], EVENTS[doubled]]), EVENTS)
    assert (verdict.lost, verdict.doubled) == (1, 1)


def test_a_lost_sign_up_is_wrong() -> None:
    place = next(place for place, event in enumerate(EVENTS) if event.type == SIGNUP)
    verdict = compare(folded(EVENTS[:place] + EVENTS[place + 1 :]), EVENTS)
    assert verdict.wrong == [f"{EVENTS[place].user_id}.attributes"]


def test_events_count_once_and_in_time() -> None:
    known = rating("ann", "novel", NOON)
    in_time = rating("ann", "novel", NOON - 90 * DAY)
    late = rating("ann", "novel", NOON - 90 * DAY - 1)
    assert counting([known, known, late, in_time]) == [known, in_time]
    assert counting([late, known]) == [late, known]


def test_the_event_log_holds_all_that_was_sent_wherever_it_is_written_twice(tmp_path: Path) -> None:
    sent = EVENTS[:3]
    rows = [(7, offset, event.event_id) for offset, event in enumerate(sent)]

    def write(name: str, part: list[tuple[int, int, str]]) -> None:
        columns = dict(zip(("source", "offset", "event_id"), zip(*part, strict=True), strict=True))
        pq.write_table(pa.table({key: list(column) for key, column in columns.items()}), tmp_path / name)

    write("0.parquet", rows[:2])
    assert compare_log(tmp_path, sent) == ["the event log holds 2 events, other ones than were sent"]
    write("1.parquet", rows[1:])
    assert compare_log(tmp_path, sent) == []
    write("2.parquet", [(7, 0, "another")])
    assert "at offset 0" in compare_log(tmp_path, sent)[0]


def test_dead_letters_are_the_poison_and_nothing_else() -> None:
    assert compare_dead_letters([b"b", None], [None, b"b"]) == []
    assert compare_dead_letters([b"b"], [None, b"b"])
    assert compare_dead_letters([b"b", b"b"], [b"b"])
