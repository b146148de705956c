"""A graph of what is known of items, and embeddings that spread along its edges."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.low_rank import SparseMatrix
from models.schema import Floats

Ends = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

STEPS = 4
"""Edges that an embedding travels: two bring an item's to those that share an entity with it."""


class Triple(NamedTuple):
    """`head` stands in `relation` to `tail`; an item is known by its node, see `item_node`."""

    head: str
    relation: str
    tail: str


def item_node(item_id: str) -> str:
    """The name of an item's node, which no entity can have."""
    return f"\x1e{item_id}"


@dataclass(frozen=True)
class Graph:
    """Nodes and the edges between them, each relation in both directions.

    Attributes:
        nodes: names; the first `items` are the catalogue's items, in its order.
        heads, tails: [n] ends of each triple.
        relations: [n] which relation, by its place in `relation_names`.
    """

    nodes: list[str]
    items: int
    heads: Ends
    tails: Ends
    relations: Ends
    relation_names: list[str]


def build_graph(item_ids: Sequence[str], triples: Sequence[Triple]) -> Graph:
    """The graph of `triples` around the items; a triple that is said twice counts once."""
    distinct = list(dict.fromkeys(triples))
    names = [item_node(item_id) for item_id in item_ids]
    place = {name: number for number, name in enumerate(names)}
    relations: dict[str, int] = {}
    heads: list[int] = []
    tails: list[int] = []
    kinds: list[int] = []
    for head, relation, tail in distinct:
        for name, ends in ((head, heads), (tail, tails)):
            if name not in place:
                place[name] = len(names)
                names.append(name)
            ends.append(place[name])
        kinds.append(relations.setdefault(relation, len(relations)))
    first, last, kind = (np.array(part, np.int64) for part in (heads, tails, kinds))
    return Graph(names, len(item_ids), first, last, kind, list(relations))


def propagate(graph: Graph, features: Floats, steps: int = STEPS) -> Floats:
    """[I, W] the items' embeddings: the mean of where they start and of what reaches them step by step.

    Items start from `features` [I, W], entities from zero. A step is a sum over neighbours divided by the
    root of both ends' degrees. Nothing is learned: an item without features is placed by the entities that
    it shares with others.

    Source: X. He et al., "LightGCN", SIGIR 2020; for the graph of items and entities, X. Wang et al.,
    "KGAT", KDD 2019.
    """
    size = len(graph.nodes)
    sources = np.concatenate([graph.heads, graph.tails])
    targets = np.concatenate([graph.tails, graph.heads])
    degree = np.maximum(np.bincount(sources, minlength=size), 1).astype(np.float64)
    adjacency = SparseMatrix(sources, targets, 1 / np.sqrt(degree[sources] * degree[targets]), (size, size))
    state = np.zeros((size, features.shape[1]))
    state[: graph.items] = features
    total = state[: graph.items].copy()
    for _ in range(steps):
        state = adjacency.multiply(state)
        total += state[: graph.items]
    return np.asarray(total / (steps + 1), np.float32)
