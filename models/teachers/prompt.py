"""Prompts as versioned files: what a language model is told of a case, and how the question reads."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from feature_repo.catalogue import Catalogue, Items
from models.knowledge.sentiment import aspects
from models.teachers.port import Case, CaseEvent, TeacherError

PROMPTS = Path(__file__).parent / "prompts"
ZERO_SHOT, FEW_SHOT = "zero-shot-1", "few-shot-1"

_ROLES = {"System": "system", "User": "user", "Example": "user", "Answer": "assistant"}
_HEADING = re.compile(r"^# (\w+)\n", re.MULTILINE)
_FIELDS = ("attributes", "events", "categories", "candidates")
_QUOTED = 160


class Message(NamedTuple):
    """One turn: `role` is system, user or assistant."""

    role: str
    text: str


class Prompt:
    """A file of `# System`, `# Example`, `# Answer` and `# User` sections, in the order they are said.

    The user's section holds `{attributes}`, `{events}`, `{categories}` and `{candidates}`.

    Args:
        name: of a file that ships with the teacher, or a path.

    Raises:
        TeacherError: there is no such file, or it lacks the user's section or one of its fields.
    """

    def __init__(self, name: str) -> None:
        shipped = PROMPTS / f"{name}.md"
        path = shipped if shipped.exists() else Path(name)
        try:
            self.text = path.read_text(encoding="utf-8")
        except OSError as error:
            known = ", ".join(sorted(file.stem for file in PROMPTS.glob("*.md")))
            raise TeacherError(f"no prompt {name!r}: name a file, or one of {known}") from error
        _, *parts = _HEADING.split(self.text)
        self._sections = list(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))
        unknown = [heading for heading, _ in self._sections if heading not in _ROLES]
        asked = [text for heading, text in self._sections if heading == "User"]
        if unknown or len(asked) != 1:
            raise TeacherError(
                f"{path}: expected sections of {', '.join(_ROLES)}, with one User among them"
            )
        for field in _FIELDS:
            if f"{{{field}}}" not in asked[0]:
                raise TeacherError(f"{path}: the User section has no {{{field}}}")

    def messages(
        self, case: Case, catalogue: Catalogue, items: Items, candidates: Sequence[int]
    ) -> list[Message]:
        """The turns that ask about `case`, `candidates` being positions of items to choose from."""
        filled = {
            "attributes": _attributes(case),
            "events": "\n".join(_event(event, catalogue, items) for event in case.events)
            or "- nothing yet",
            "categories": ", ".join(catalogue.categories),
            "candidates": "\n".join(
                f"{number}. {_item(catalogue, items, place)}" for number, place in enumerate(candidates, 1)
            ),
        }

        def fill(match: re.Match[str]) -> str:
            return filled[match[1]]

        # One pass over the template alone: what a user wrote is never read as a field.
        pattern = re.compile(r"\{(" + "|".join(_FIELDS) + r")\}")
        return [
            Message(_ROLES[heading], pattern.sub(fill, text) if heading == "User" else text)
            for heading, text in self._sections
        ]


def _attributes(case: Case) -> str:
    said = [f"{name} {_number(value)}" for name, value in case.attributes.items() if value is not None]
    return ", ".join(said) or "nothing"


def _event(event: CaseEvent, catalogue: Catalogue, items: Items) -> str:
    place = items.index.get(event.item_id)
    line = f"- {_item(catalogue, items, place) if place is not None else 'an item no longer on offer'}"
    if event.value is not None:
        top = f" of {_number(catalogue.value_range[1])}" if catalogue.value_range else ""
        line += f": {_number(event.value)}{top}"
    else:
        line += f": {event.type}"
    if event.text:
        felt = (
            f"{name} {'good' if value > 0 else 'bad'}"
            for name, value in aspects(event.text).items()
            if value
        )
        line += f' — "{" ".join(event.text.split())[:_QUOTED]}"'
        if event.sentiment is not None:
            line += f" (sounds {_mood(event.sentiment)}; {', '.join(felt) or 'no aspect named'})"
    return line


def _item(catalogue: Catalogue, items: Items, place: int) -> str:
    names = ", ".join(catalogue.categories[category] for category in items.categories[place])
    return f"{items.titles[place]} ({names})" if names else items.titles[place]


def _mood(sentiment: float) -> str:
    if abs(sentiment) < 0.1:
        return "neutral"
    return "content" if sentiment > 0 else "unhappy"


def _number(value: str | float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
