"""The language of behaviour: a user's attributes and events as a sentence of tokens."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from feature_repo.catalogue import Catalogue
from models.schema import Indices
from models.teachers.port import Case

PAD, COMPLETE, CONTINUE = 0, 1, 2
"""Padding, and the two questions: what else does the user use at all, and what do they use next?"""

_FIRST = 3
_REACTIONS = 5


class Log(NamedTuple):
    """A user in token ids.

    Attributes:
        header: [a] tokens of the attributes declared.
        items: [n] positions in the catalogue, in order of time.
        reactions: [n] tokens of each event's type and value.
    """

    header: list[int]
    items: Indices
    reactions: Indices


class Language:
    """Tokens: three signs, a token for each attribute slot, one for each type of event by value, and items.

    A sentence is `attributes… question item reaction item reaction …`; values are told apart in five
    steps of the catalogue's range.
    """

    def __init__(self, catalogue: Catalogue, item_ids: Sequence[str]) -> None:
        self.catalogue = catalogue
        self.item_ids = list(item_ids)
        self._index = {item_id: place for place, item_id in enumerate(self.item_ids)}
        self._types = {name: place for place, name in enumerate(catalogue.event_types)}
        self.first_reaction = _FIRST + catalogue.attribute_width
        # Values in five steps, or none at all; an unknown type is a type of its own.
        self.first_item = self.first_reaction + (len(self._types) + 1) * (_REACTIONS + 1)
        low, high = catalogue.value_range or (0.0, 1.0)
        self._edges = np.linspace(low, high, _REACTIONS + 1)[1:-1].tolist()

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return self.first_item + len(self.item_ids)

    def log(self, case: Case) -> Log:
        """The case in tokens; events of items that are not in the catalogue are left out."""
        slots = self.catalogue.attribute_slots(case.attributes)
        known = [event for event in case.events if event.item_id in self._index]
        return Log(
            [_FIRST + slot for slot in slots],
            np.array([self._index[event.item_id] for event in known], np.int64),
            np.array([self.reaction(event.type, event.value) for event in known], np.int64),
        )

    def reaction(self, event_type: str, value: float | None) -> int:
        """The token of an event's type and value."""
        kind = self._types.get(event_type, len(self._types))
        step = _REACTIONS if value is None else bisect_right(self._edges, value)
        return self.first_reaction + kind * (_REACTIONS + 1) + step

    def read_reaction(self, place: int) -> tuple[str, float | None]:
        """Type and value of the reaction at `place` after the first; a type we do not know is the first."""
        kind, step = divmod(place, _REACTIONS + 1)
        names = [*self._types, next(iter(self._types))]
        if step == _REACTIONS or self.catalogue.value_range is None:
            return names[kind], None
        low, high = self.catalogue.value_range
        return names[kind], low + (high - low) * step / (_REACTIONS - 1)

    def sentence(self, log: Log, question: int, order: Sequence[int] | Indices) -> list[int]:
        """The tokens of a question about the events of `log` in this order."""
        tokens = [*log.header, question]
        for place in order:
            tokens += [self.first_item + int(log.items[place]), int(log.reactions[place])]
        return tokens


def padded(sentences: Sequence[Sequence[int]]) -> Indices:
    """[B, T] sentences, padded on the right to the longest."""
    table = np.full((len(sentences), max(map(len, sentences))), PAD, np.int64)
    for row, sentence in enumerate(sentences):
        table[row, : len(sentence)] = sentence
    return table
