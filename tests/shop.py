"""A small shop whose right answers are visible: six items, three categories, two attributes."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.catalogue import ITEM_SCHEMA, ITEMS_FILE, Attribute, Catalogue, Items
from feature_repo.workspace import Workspace

CATALOGUE = Catalogue(
    name="shop",
    categories=("tea", "mugs", "books"),
    attributes=(
        Attribute("age", "number", edges=(30.0, 50.0)),
        Attribute("city", "category", values=("Bath", "York")),
    ),
    event_types={"rating": 1.0, "view": 0.5},
    value_range=(1.0, 5.0),
    half_life_days=10.0,
    recent_length=5,
    embedding_width=4,
    virtual_length=3,
)

ITEMS = Items(
    ids=["green", "black", "plain", "painted", "novel", "teapot"],
    titles=["Green tea", "Black tea", "Plain mug", "Painted mug", "A novel", "Teapot"],
    texts=["a green tea", "a black tea", "a plain mug", "a painted mug", "a long novel", "a pot for tea"],
    categories=[(0,), (0,), (1,), (1,), (2,), (0, 1)],
)


def save_shop(workspace: Workspace, items: Items = ITEMS) -> None:
    """Write the shop's catalogue and items into `workspace`."""
    CATALOGUE.save(workspace.data)
    rows = {
        "item_id": items.ids,
        "title": items.titles,
        "categories": [[CATALOGUE.categories[index] for index in indices] for indices in items.categories],
        "text": items.texts,
    }
    pq.write_table(pa.table(rows, schema=ITEM_SCHEMA), workspace.data / ITEMS_FILE)


def shop_workspace(root: Path) -> Workspace:
    """A workspace with the shop loaded and nothing applied yet."""
    workspace = Workspace(root)
    save_shop(workspace)
    return workspace
