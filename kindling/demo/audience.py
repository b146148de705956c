"""The demo's cold users: the last to join, what they did first, and what they went on to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from feature_repo.catalogue import Catalogue, Items
from feature_repo.workspace import Workspace
from kindling.demo.outcome import SHOWN
from models.training.histories import load_histories
from models.training.split import split_by_join_time
from streaming.event import SIGNUP, UserEvent
from streaming.history import events_of


@dataclass(frozen=True)
class Audience:
    """Held-out users by id.

    Attributes:
        warm: how many users came before them.
        cutoff_ms: when the first of them joined.
        histories: every event of each, in order of time; more than are ever shown.
        sign_ups: the event by which each declared their attributes, of those who did.
    """

    warm: int
    cutoff_ms: int
    histories: dict[str, list[UserEvent]]
    sign_ups: dict[str, UserEvent]

    @classmethod
    def of(cls, workspace: Workspace, catalogue: Catalogue, items: Items) -> "Audience":
        """The users that training holds out, by the same split, with enough events to be judged by."""
        histories = load_histories(workspace.data, catalogue, items)
        split = split_by_join_time(histories)
        held_out = [histories.user_ids[user] for user in split.held_out]
        events: dict[str, list[UserEvent]] = {user: [] for user in held_out}
        sign_ups = {}
        for event in events_of(workspace.data, users=held_out):
            if event.type == SIGNUP:
                sign_ups[event.user_id] = event
            else:
                events[event.user_id].append(event)
        enough = {user: own for user, own in events.items() if len(own) > max(SHOWN)}
        return cls(
            len(split.warm),
            split.cutoff_ms,
            enough,
            {user: sign_ups[user] for user in enough if user in sign_ups},
        )

    @property
    def user_ids(self) -> list[str]:
        """In order of joining."""
        return list(self.histories)

    @property
    def cutoff(self) -> str:
        """The day of the first held-out join."""
        return f"{datetime.fromtimestamp(self.cutoff_ms / 1e3, UTC):%d %B %Y}"

    def newly_shown(self, before: int, now: int) -> list[UserEvent]:
        """What happened from the `before`-th to the `now`-th event of everyone, in order of time.

        `before` is -1 at the beginning: nobody has signed up yet.
        """
        fresh = [event for own in self.histories.values() for event in own[max(before, 0) : now]]
        if before < 0:
            fresh += self.sign_ups.values()
        return sorted(fresh, key=lambda event: (event.time_ms, event.event_id))

    def shown_items(self, user_id: str, count: int) -> set[str]:
        """Items of the first `count` events."""
        return {event.item_id for event in self.histories[user_id][:count] if event.item_id}

    def later_items(self, user_id: str, count: int) -> set[str]:
        """Items of all events after the first `count` that were not among those."""
        later = {event.item_id for event in self.histories[user_id][count:] if event.item_id}
        return later - self.shown_items(user_id, count)


def warm_events(workspace: Workspace, cutoff_ms: int) -> Iterator[UserEvent]:
    """Everything that happened before the first held-out join, sign-ups included."""
    return events_of(workspace.data, until_ms=cutoff_ms)
