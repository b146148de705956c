"""Categories for items that come without any: the words that set them apart in what is written about them.

A shop whose items carry no genre still has texts. A word that some items' texts use far more often
than chance would have it ("pedal", "strings") names a kind of item; one that all texts use alike
("great", "price") does not. These topics are noisier than an editor's genres, but they come from
the data alone and nothing is invented for an item about which nothing was written.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.datasets.vocabulary import OTHER

TOPICS = 32
TOPICS_PER_ITEM = 3
CANDIDATES = 600
MIN_LIFT = 1.6
# Pseudo-texts, split like all texts, added to each item's: one lone mention makes no topic.
PRIOR_TEXTS = 2.0

_WORD = re.compile(r"[a-z][a-z'-]{2,}")
_STOP_WORDS = frozenset(
    """
    about above actually after again against all almost along already also although always and another
    any anyone anything are aren't around away back bad because been before being best better between
    big bit both bought but buy came can can't cannot come could couldn't day decent did didn't
    different does doesn't doing don't done down each easy either else enough especially even ever every
    everything exactly excellent far few find fine first for found from full get gets getting give given
    gives goes going gone good got great had hard has hasn't have haven't having he her here highly him
    his hold how however i'd i'll i'm i've into isn't it's its itself job just keep kind know last least
    less let like little long look looking looks lot love loved made make makes making many may maybe me
    mine more most much must my myself need needed needs never new nice not nothing now off often old
    once one ones only onto or other others our out over own part people perfect perfectly pretty price
    probably problem product put quality quite rather ready real really recommend right said same say
    seem seems several she should since so some someone something still such sure take than thank thanks
    that that's the their them then there these they they're thing things think this those though
    thought through time times to together too took tried try two under until up upon us use used uses
    using very want wanted was wasn't way we well went were weren't what when where whether which while
    who whole why will wish with within without won't work worked working works worth would wouldn't
    year years yes yet you you'll you're your
    """.split()  # noqa: SIM905
)


def words(text: str) -> set[str]:
    """The content words of a text, each once: lower case, three letters or more, no stop words."""
    return set(_WORD.findall(text.lower())) - _STOP_WORDS


def derive(texts: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Item id → its topics, most telling first, given what was written about each item, text by text.

    A topic is a word with high mutual information between it and the item, less what the same texts
    dealt out to items at random would show. An item no topic fits has the one category `other`.
    """
    bags, owners = [], []  # one text each: its words, and the position of its item
    for position, item_texts in enumerate(texts.values()):
        for text in item_texts:
            bags.append(words(text))
            owners.append(position)
    vocabulary = _candidates(bags)
    if not vocabulary:
        return dict.fromkeys(texts, (OTHER,))
    text_of, word_of = _mentions(bags, vocabulary)
    owner = np.asarray(owners)
    names = sorted(set(vocabulary.values()))

    sizes = np.bincount(owner, minlength=len(texts)).astype(np.float64)  # [items]
    share = np.bincount(word_of, minlength=len(names)) / len(bags)  # [words]
    item, word, mentions = _pairs(owner[text_of], word_of, len(names))
    telling = _information(word, mentions, sizes[item] * share[word], len(names))
    several = len(bags) > len(texts)  # with one text an item, dealing texts at random changes nothing
    if several:
        dealt = np.random.default_rng(0).permutation(owner)
        holder, held, times = _pairs(dealt[text_of], word_of, len(names))
        telling -= _information(held, times, sizes[holder] * share[held], len(names))
    chosen = [index for index in np.argsort(-telling, kind="stable")[:TOPICS] if telling[index] > 0]

    lift = (mentions + PRIOR_TEXTS * share[word]) / ((sizes[item] + PRIOR_TEXTS) * share[word])
    strength = np.zeros((len(texts), len(names)), dtype=np.float32)
    strength[item, word] = np.where(lift >= (MIN_LIFT if several else 1.0), mentions * np.log(lift), 0.0)
    strength = strength[:, chosen]  # [items, topics]
    order = np.argsort(-strength, axis=1, kind="stable")[:, :TOPICS_PER_ITEM]
    return {
        item_id: tuple(names[chosen[column]] for column in row if strength[position, column] > 0)
        or (OTHER,)
        for position, (item_id, row) in enumerate(zip(texts, order, strict=True))
    }


def _candidates(bags: Sequence[set[str]]) -> dict[str, str]:
    """The most frequent words, each with the form it counts under: plural and singular are one."""
    counts = Counter(word for bag in bags for word in bag)
    common = [word for word, count in counts.most_common() if count > 1][:CANDIDATES]
    known = set(common)
    forms = {}
    for word in common:
        twin = word[:-1] if word.endswith("s") else f"{word}s"
        both = sorted((word, twin), key=lambda form: (-counts[form], form))
        forms[word] = both[0] if twin in known else word
    return forms


def _mentions(
    bags: Sequence[set[str]], vocabulary: Mapping[str, str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of text and word of each mention; a word counts once a text."""
    column = {name: index for index, name in enumerate(sorted(set(vocabulary.values())))}
    pairs = [
        (index, name)
        for index, bag in enumerate(bags)
        for name in sorted({column[vocabulary[word]] for word in bag if word in vocabulary})
    ]
    array = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _pairs(
    items: NDArray[np.int64], words_of: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The different pairs of item and word, and how often each occurs."""
    keys, counts = np.unique(items * width + words_of, return_counts=True)
    return keys // width, keys % width, counts.astype(np.float64)


def _information(
    word: NDArray[np.int64], mentions: NDArray[np.float64], expected: NDArray[np.float64], width: int
) -> NDArray[np.float64]:
    """For each word, the log-likelihood ratio between depending on the item and not, in nats."""
    ratios: NDArray[np.float64] = mentions * np.log(mentions / expected)
    total = np.zeros(width)
    np.add.at(total, word, ratios)
    return total
