"""Which items a language model is offered to choose from: a catalogue does not fit into a prompt."""

import numpy as np

from feature_repo.catalogue import Items
from models.schema import Floats
from models.teachers.port import Case


def choose_candidates(
    case: Case, items: Items, item_shares: Floats, popularity: Floats, count: int
) -> list[int]:
    """Positions of at most `count` unseen items: half the most popular, half those popular in kind.

    The second half is of the categories that the case's events are of; without events all are the most
    popular.

    Args:
        item_shares: [I, C] categories of the items.
        popularity: [I] events of training users.
    """
    shown = [items.index[event.item_id] for event in case.events if event.item_id in items.index]
    worth = popularity.astype(np.float64) + 1
    worth[shown] = 0
    half = count // 2 if shown else count
    chosen = _best(worth, half)
    if shown:
        kind = worth * (item_shares @ item_shares[shown].sum(axis=0))
        kind[chosen] = 0
        chosen += _best(kind, count - half)
    return chosen


def _best(worth: np.ndarray[tuple[int, ...], np.dtype[np.float64]], count: int) -> list[int]:
    order = np.argsort(-worth, kind="stable")[:count]
    return [int(place) for place in order if worth[place] > 0]
