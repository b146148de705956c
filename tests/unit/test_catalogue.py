"""The catalogue: vocabularies, one-hot slots, event weights, and errors that say what to do."""

from pathlib import Path

import pytest

from feature_repo.catalogue import Attribute, Catalogue, CatalogueError, load_catalogue, load_items
from tests.shop import CATALOGUE, ITEMS, shop_workspace


def test_a_saved_catalogue_loads_as_it_was(tmp_path: Path) -> None:
    workspace = shop_workspace(tmp_path)
    assert load_catalogue(workspace.data) == CATALOGUE
    assert load_items(workspace.data, CATALOGUE) == ITEMS


@pytest.mark.parametrize(
    ("age", "slot"), [(29.9, 0), (30, 1), ("49", 1), (50, 2), (None, None), ("?", None), ("nan", None)]
)
def test_a_number_lights_the_bucket_it_falls_into(age: float | str | None, slot: int | None) -> None:
    assert CATALOGUE.attributes[0].slot(age) == slot


def test_unknown_values_light_no_slot() -> None:
    assert CATALOGUE.attribute_slots({"age": 40, "city": "York"}) == [1, 4]
    assert CATALOGUE.attribute_slots({"city": "Ghent", "shoe": "42"}) == []
    assert CATALOGUE.attribute_width == Attribute("", "number", edges=(1, 2)).width + 2


def test_a_low_rating_keeps_half_the_weight_of_its_type() -> None:
    assert CATALOGUE.event_weight("rating", 5) == 1.0
    assert CATALOGUE.event_weight("rating", 1) == 0.5
    assert CATALOGUE.event_weight("rating", -3) == 0.5
    assert CATALOGUE.event_weight("view", None) == 0.5


def test_a_missing_catalogue_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="kindling data load"):
        load_catalogue(tmp_path)
    with pytest.raises(CatalogueError, match="kindling data load"):
        load_items(tmp_path, CATALOGUE)


def test_a_malformed_catalogue_names_file_and_field(tmp_path: Path) -> None:
    (tmp_path / "catalogue.json").write_text('{"name": "x", "categories": 3}')
    with pytest.raises(CatalogueError, match=r"catalogue\.json.*categories"):
        load_catalogue(tmp_path)


def test_an_item_in_a_category_the_catalogue_lacks_is_refused(tmp_path: Path) -> None:
    workspace = shop_workspace(tmp_path)
    narrower = Catalogue(name="shop", categories=("tea",))
    with pytest.raises(CatalogueError, match="mugs"):
        load_items(workspace.data, narrower)
