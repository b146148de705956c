"""A teacher's rationale, one line of text, as reason codes."""

from collections.abc import Collection

_LEAST_NAME = 3


def code_rationale(
    rationale: str,
    declared: Collection[str],
    shown: Collection[str],
    named: Collection[str],
    categories: Collection[str],
) -> list[float]:
    """1 for each of `models.bundle.REASON_CODES` that a rationale gives, 0 for the others.

    It gives an attribute by its name or value or the word `declared`; an event by the title of an item
    that was shown; a similar item by such a title beside that of one it recommends; a knowledge edge by
    a category.

    Args:
        declared: names and values of the attributes that were.
        shown: titles of the items that were shown.
        named: titles of the likeliest items.
    """
    said = rationale.lower()

    def mentions(names: Collection[str]) -> bool:
        return any(len(name) >= _LEAST_NAME and name.lower() in said for name in names)

    event = mentions(shown)
    return [
        float(given)
        for given in (
            "declared" in said or mentions(declared),
            event,
            event and mentions(named),
            mentions(categories),
        )
    ]
