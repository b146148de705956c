"""The content space: everything that is known of items before anyone used them, as one vector each."""

from pathlib import Path

from feature_repo.catalogue import Catalogue, Items
from models.content import content_vectors
from models.knowledge.graph import build_graph, propagate
from models.knowledge.triples import catalogue_triples
from models.knowledge.views import fuse_views
from models.schema import Floats


def content_space(catalogue: Catalogue, items: Items, meanings: Floats | None = None) -> Floats:
    """[I, any] the views of words, of the catalogue's graph they are spread along, and of meanings.

    Args:
        meanings: [I, any] what a sentence encoder makes of the items' texts, if one is at hand.
    """
    words = content_vectors(catalogue, items)
    graph = build_graph(items.ids, list(catalogue_triples(catalogue, items)))
    views = {"words": words, "graph": propagate(graph, words)}
    if meanings is not None:
        views["text"] = meanings
    return fuse_views(views)


def item_content(catalogue: Catalogue, items: Items, encoder: str | None) -> Floats:
    """[I, any] content vectors for training: by words alone, unless a sentence encoder's folder is named.

    Raises:
        TeacherError: there is no encoder in that folder.
    """
    if encoder is None:
        return content_vectors(catalogue, items)
    from models.teachers.encoder import SentenceEncoder  # brings transformers, which take seconds to import

    return content_space(catalogue, items, SentenceEncoder(Path(encoder)).encode(items.texts))
