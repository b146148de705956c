"""Review sentiment: the polarity of a text, and of each aspect that it speaks of, by a small lexicon."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

_FILE = Path(__file__).with_suffix(".yaml")
_TOKEN = re.compile(r"[a-z']+|[.!?;]")
_WINDOW = 3
"""Words that a negation or a word of degree bears on."""

_NEGATED = -0.7
"""A negated word says less than its opposite would."""

_DAMPING = 2.0
_STRONGEST = 1.5


class Lexicon(msgspec.Struct, frozen=True):
    """Words by weight, words that negate, factors of words of degree, and the words of each aspect."""

    weights: dict[float, list[str]]
    negations: frozenset[str]
    degrees: dict[str, float]
    aspects: dict[str, frozenset[str]]


@cache
def lexicon() -> tuple[Lexicon, Mapping[str, float]]:
    """The lexicon, and the weight of each of its words."""
    read = msgspec.yaml.decode(_FILE.read_bytes(), type=Lexicon)
    return read, {word: weight for weight, words in read.weights.items() for word in words}


def polarity(text: str) -> float:
    """−1 to 1: how content the text sounds; 0 where no word of the lexicon occurs.

    Words are summed with their negations and intensifiers and squashed by their number, so that one kind
    word in a long complaint does not decide. Source: C. Hutto, E. Gilbert, "VADER", ICWSM 2014, whose rules
    of negation and degree are kept in their simplest form.
    """
    total, count = 0.0, 0
    for weights in _sentences(text):
        total += sum(weights)
        count += len(weights)
    return total / (count + _DAMPING) / _STRONGEST if count else 0.0


def aspects(text: str) -> dict[str, float]:
    """The polarity of the sentences that speak of each aspect; those not spoken of are absent."""
    spoken: dict[str, list[float]] = {}
    for sentence in re.split(r"[.!?;]+", text.lower()):
        words = set(_TOKEN.findall(sentence))
        for aspect, names in lexicon()[0].aspects.items():
            if words & names:
                spoken.setdefault(aspect, []).append(polarity(sentence))
    return {aspect: sum(values) / len(values) for aspect, values in spoken.items()}


def _sentences(text: str) -> list[list[float]]:
    """The weights of the words of each sentence that have one."""
    known, weights = lexicon()
    found: list[list[float]] = [[]]
    before: list[float] = []
    for word in _TOKEN.findall(text.lower()):
        if not word[0].isalpha():
            found.append([])
            before = []
            continue
        if word in weights:
            weight = weights[word]
            for factor in before[-_WINDOW:]:
                weight *= factor
            found[-1].append(weight)
        before.append(_NEGATED if word in known.negations else known.degrees.get(word, 1.0))
    return found
