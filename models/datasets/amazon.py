"""Amazon reviews: JSON lines of `reviewerID asin reviewText summary overall unixReviewTime`, plain or .gz.

Source: J. McAuley et al., Image-based Recommendations on Styles and Substitutes, SIGIR 2015.

The reviews alone do not say what an item is: there is no title and no category. A `meta*` file beside
them does. Without one, an item is described by its first ten reviews: its title is the summary that
says most of what the others say, and its categories are topics (see `topics`), because a profile needs
something to be about. Only the first reviews count, as a shop page would have it: what is said
of an item later, when events are replayed in order of time, never flows back into its description.
"""

import ast
from collections import Counter
from heapq import heappush, heappushpop
from pathlib import Path

import msgspec

from models.datasets import topics
from models.datasets.assembly import Assembly, Item
from models.datasets.dataset import Dataset
from models.datasets.intake import BadRowError, Intake, Progress, first_lines, milliseconds, silent

EXPECTS = (
    "Amazon reviews: *.json, *.jsonl (or .gz), lines with reviewerID, asin, unixReviewTime (and meta*.json)"
)
FIRST_REVIEWS = 10
LONGEST_TITLE = 80
LONGEST_TEXT = 1000
SCALE = (1.0, 5.0)

_SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_PEEK_LINES = 20


class Review(msgspec.Struct):
    """The fields of a review that are used; others are ignored."""

    reviewer: str = msgspec.field(name="reviewerID")
    asin: str
    time: float = msgspec.field(name="unixReviewTime")
    text: str | None = msgspec.field(name="reviewText", default=None)
    summary: str | None = None
    overall: float | None = None


class Metadata(msgspec.Struct):
    """The fields of an item's metadata that are used."""

    asin: str
    title: str | None = None
    brand: str | None = None
    description: str | list[str] | None = None
    categories: list[list[str] | str] = []
    category: list[str] = []

    def item(self) -> Item:
        """Its title, the categories below the top one (which all items share), and a text of all."""
        paths = [path for path in self.categories if isinstance(path, list)]
        paths.append([name for name in self.categories if isinstance(name, str)] or self.category)
        names = list(dict.fromkeys(name for path in paths for name in (path[1:] or path) if name))
        described = " ".join(self.description) if isinstance(self.description, list) else self.description
        text = " ".join(part for part in (self.title, self.brand, *names, described) if part)
        return Item((self.title or "")[:LONGEST_TITLE], names, text[:LONGEST_TEXT])


class Description:
    """What the first reviews of an item say, in order of time; the file's order does not matter."""

    def __init__(self) -> None:
        # A heap of the earliest, by negative time: the latest of them is the first to go.
        self._earliest: list[tuple[float, str, str]] = []

    def add(self, time_ms: int, summary: str, text: str) -> None:
        """Keep a review if it is among the first."""
        entry = (-time_ms, summary, text)
        push = heappush if len(self._earliest) < FIRST_REVIEWS else heappushpop
        push(self._earliest, entry)

    def texts(self) -> list[str]:
        """Summary and text of each."""
        return [f"{summary} {text}".strip() for _, summary, text in sorted(self._earliest, reverse=True)]

    def title(self) -> str:
        """The summary whose words, on average, come up in most of the texts; the shorter of equals."""
        common = Counter(word for text in self.texts() for word in topics.words(text))
        summaries = {summary[:LONGEST_TITLE] for _, summary, _ in self._earliest if summary}

        def rank(summary: str) -> tuple[float, int, str]:
            said = topics.words(summary)
            return -sum(common[word] for word in said) / (len(said) + 1), len(summary), summary

        return min(summaries, key=rank, default="")


def find(path: Path) -> list[Path]:
    """The files of reviews that `path` is or holds, by the first readable lines of each."""
    files = [path] if path.is_file() else sorted(path.iterdir())
    named = [file for file in files if file.name.endswith(_SUFFIXES) and not file.name.startswith("meta")]
    return [file for file in named if file.is_file() and _has_reviews(file)]


def load(path: Path, progress: Progress = silent) -> Dataset:
    """Read a file of reviews, or all those in a folder; each review is an event of type "review".

    With metadata, the items are those it describes and someone reviewed. A review's text is the event's.

    Raises:
        DatasetError: no review is usable.
    """
    files = find(path)
    folder = files[0].parent
    metadata = [file for file in sorted(folder.glob("meta*")) if file.name.endswith(_SUFFIXES)]
    intake = Intake(progress)
    assembly = Assembly("review", {}, items_known=bool(metadata))
    for file in metadata:
        intake.read(file, lambda line: _take_metadata(line, assembly))
    described: dict[str, Description] = {}
    for file in files:
        intake.read(file, lambda line: _take_review(line, assembly, described))
    if metadata:
        assembly.items = {asin: assembly.items[asin] for asin in assembly.event_items}
    else:
        assembly.items = _items(described)
    name = folder.resolve().name if path.is_dir() else path.name.split(".")[0]
    return assembly.finish(path, name, intake.quarantined, SCALE)


def _items(described: dict[str, Description]) -> dict[str, Item]:
    of_items = topics.derive({asin: description.texts() for asin, description in described.items()})
    items = {}
    for asin, description in described.items():
        title, names = description.title(), of_items[asin]
        items[asin] = Item(title, names, " ".join([*names, *description.texts()])[:LONGEST_TEXT])
    return items


def _has_reviews(path: Path) -> bool:
    return any(b'"reviewerID"' in line for line in first_lines(path, _PEEK_LINES))


def _take_review(line: str, assembly: Assembly, described: dict[str, Description]) -> None:
    try:
        review = msgspec.json.decode(line, type=Review)
    except msgspec.ValidationError as error:
        raise BadRowError(str(error)) from error
    except msgspec.DecodeError as error:
        raise BadRowError("not valid JSON") from error
    if review.overall is not None and not SCALE[0] <= review.overall <= SCALE[1]:
        raise BadRowError("overall is off the scale")
    time_ms = milliseconds(review.time)
    assembly.add_event(review.reviewer.strip(), review.asin.strip(), time_ms, review.overall, review.text)
    description = described.setdefault(review.asin.strip(), Description())
    description.add(time_ms, (review.summary or "").strip(), review.text or "")


def _take_metadata(line: str, assembly: Assembly) -> None:
    try:
        metadata = msgspec.json.decode(line, type=Metadata)
    except msgspec.ValidationError as error:
        raise BadRowError(str(error)) from error
    except msgspec.DecodeError:
        metadata = _python_literal(line)
    assembly.add_item(metadata.asin.strip(), metadata.item())


def _python_literal(line: str) -> Metadata:
    """The metadata of 2014 writes each line as a Python dict rather than as JSON."""
    try:
        # Through JSON, since a Python string may hold what no encoding can: half a surrogate pair.
        return msgspec.json.decode(msgspec.json.encode(ast.literal_eval(line)), type=Metadata)
    except msgspec.ValidationError as error:
        raise BadRowError(str(error)) from error
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise BadRowError("not valid JSON") from None
