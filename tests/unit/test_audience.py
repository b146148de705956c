"""The demo's cold users: in order of joining, shown little by little, and never in the past of training."""

from pathlib import Path

from feature_repo.workspace import Workspace
from kindling.demo.audience import Audience, warm_events
from tests import checkerboard


def audience(tmp_path: Path) -> tuple[Workspace, Audience]:
    workspace = Workspace(tmp_path)
    checkerboard.write_shop(workspace.data)
    return workspace, Audience.of(workspace, *checkerboard.catalogue_and_items())


def test_the_last_quarter_to_join_is_held_out_in_order_of_joining(tmp_path: Path) -> None:
    _, cold = audience(tmp_path)
    assert cold.user_ids == [f"u{user}" for user in range(60, 80)]
    assert cold.warm == 60


def test_everything_replayed_as_warm_happened_before_the_first_of_them_joined(tmp_path: Path) -> None:
    workspace, cold = audience(tmp_path)
    warm = list(warm_events(workspace, cold.cutoff_ms))
    assert max(event.time_ms for event in warm) < cold.cutoff_ms
    assert not {event.user_id for event in warm} & set(cold.user_ids)
    assert min(own[0].time_ms for own in cold.histories.values()) == cold.cutoff_ms


def test_what_is_shown_stage_by_stage_adds_up_and_never_repeats(tmp_path: Path) -> None:
    _, cold = audience(tmp_path)
    stages = [cold.newly_shown(-1, 0), cold.newly_shown(0, 1), cold.newly_shown(1, 3)]
    assert {event.user_id for event in stages[0]} == set(cold.user_ids)
    assert all(event.item_id is None for event in stages[0])
    shown = [event for stage in stages[1:] for event in stage]
    assert len(shown) == len({event.event_id for event in shown}) == 3 * len(cold.user_ids)
    for stage in stages:
        assert [event.time_ms for event in stage] == sorted(event.time_ms for event in stage)


def test_later_items_are_those_not_shown(tmp_path: Path) -> None:
    _, cold = audience(tmp_path)
    user = cold.user_ids[0]
    shown, later = cold.shown_items(user, 3), cold.later_items(user, 3)
    assert (len(shown), len(later)) == (3, checkerboard.EVENTS - 3)
    assert not shown & later
