"""What the simulator's items are about: invented titles and texts, of the words of their categories."""

import numpy as np
from numpy.typing import NDArray

THEMES = {
    "adventure": "island voyage treasure compass jungle summit",
    "astronomy": "comet orbit nebula telescope eclipse moon",
    "baking": "flour oven crust sourdough pastry cinnamon",
    "comedy": "prank blunder farce jester disguise giggle",
    "crime": "alibi detective ransom heist witness verdict",
    "cycling": "saddle gears sprint peloton gravel climb",
    "drama": "farewell secret letter promise betrayal reunion",
    "fantasy": "dragon rune castle wizard prophecy oath",
    "gardening": "seedling orchard compost blossom trellis rain",
    "history": "empire archive dynasty siege treaty ruins",
    "horror": "whisper cellar shadow curse fog midnight",
    "jazz": "saxophone swing trumpet chord quartet blues",
    "nature": "river glacier falcon meadow tide forest",
    "politics": "senate ballot scandal speech coalition border",
    "robots": "circuit android sensor engine signal factory",
    "romance": "kiss wedding summer dance heartbeat rose",
    "sailing": "harbor mast regatta storm lighthouse anchor",
    "travel": "railway passport desert lantern market bridge",
    "war": "trench medal frontier soldier retreat armistice",
    "western": "saloon sheriff prairie stallion outlaw canyon",
}
"""Category → words that its items use."""

_FORMS = ("The {0} and the {1}", "{0} of the {1}", "Beyond the {0}: {1}", "A {0} for the {1}", "{0}, {1}")
_PHRASES = ("an old", "a lost", "a quiet", "a bold", "a strange", "a bright", "a last", "a hidden")
TEXT_WORDS = 6


def describe(rng: np.random.Generator, categories: NDArray[np.int64]) -> tuple[list[str], list[str]]:
    """Titles, all different, and texts for items of `categories`, [items, 2] positions in `THEMES`."""
    vocabulary = np.array([words.split() for words in THEMES.values()])  # [themes, words]
    items, width = len(categories), vocabulary.shape[1]
    side = rng.integers(2, size=(items, TEXT_WORDS))  # which of its two categories a word is from
    side[:, :2] = [0, 1]
    of_theme = np.argsort(rng.random((items, width)), axis=1)[:, :TEXT_WORDS]  # no word twice in a text
    drawn = vocabulary[np.take_along_axis(categories, side, axis=1), of_theme]
    forms = rng.integers(len(_FORMS), size=items)
    phrases = rng.integers(len(_PHRASES), size=(items, TEXT_WORDS))

    used: dict[str, int] = {}
    titles, texts = [], []
    for row, pair in enumerate(categories):
        title = _FORMS[forms[row]].format(*(word.capitalize() for word in drawn[row, :2]))
        used[title] = used.get(title, 0) + 1
        titles.append(title if used[title] == 1 else f"{title} {used[title]}")
        names = " and ".join(dict.fromkeys(list(THEMES)[theme] for theme in pair))
        tale = ", ".join(f"{_PHRASES[p]} {word}" for p, word in zip(phrases[row], drawn[row], strict=True))
        texts.append(f"{title}. {names.capitalize()}: {tale}.")
    return titles, texts
