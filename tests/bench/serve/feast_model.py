"""What a user of Feast would do: the same model as an on-demand view over the same features.

`python -m tests.bench.serve.feast_model ROOT MODEL` adds the view to the registry of the workspace in ROOT.
Feast's server imports this module, and finds the model by the environment.
"""

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

MODEL = "KINDLING_BENCH_BUNDLE"
"""Environment variable with the folder of the bundle."""

VIEW = "filled"
# Feast keeps the text of a view and runs it in its server.
_TEXT = """
def fill(inputs):
    from tests.bench.serve import feast_model

    return feast_model.fill(inputs)
"""
ACTIVITY = ("event_count", "last_event_ms", "affinity", "recent_items", "recent_weights", "recent_times_ms")


@cache
def _model() -> Any:
    from models.bundle import Bundle
    from models.session import OnnxSession

    bundle = Bundle.load(Path(os.environ[MODEL]))
    return bundle, OnnxSession(bundle.rungs["generator"])


def fill(inputs: dict[str, Any]) -> dict[str, Any]:
    """Columns of outputs from columns of features."""
    from models.schema import SparseProfile, decay_weights

    bundle, session = _model()
    catalogue, profiles = bundle.schema.catalogue, []
    names = [attribute.name for attribute in catalogue.attributes]
    for row in range(len(inputs["event_count"])):
        of = {name: inputs[name][row] for name in (*ACTIVITY, *names)}
        weights = decay_weights(
            of["recent_weights"] or (),
            of["recent_times_ms"] or (),
            of["last_event_ms"] or 0,
            catalogue.half_life_days,
        )
        profiles.append(
            SparseProfile(
                {name: of[name] for name in names},
                of["event_count"] or 0,
                of["affinity"] or (),
                of["recent_items"] or (),
                weights.tolist(),
            )
        )
    answers = session.run(bundle.schema.encode(profiles, bundle.item_index))
    return {spec.name: answers[spec.name].tolist() for spec in bundle.schema.outputs}


def main() -> None:
    """Apply the view."""
    root, model = Path(sys.argv[1]), sys.argv[2]
    os.environ[MODEL] = model
    from feast import Field
    from feast.on_demand_feature_view import OnDemandFeatureView
    from feast.types import Array, Float32, Int64

    from feature_repo.store import open_store
    from feature_repo.workspace import Workspace

    bundle, _ = _model()
    store = open_store(Workspace(root))
    attributes = [attribute.name for attribute in bundle.schema.catalogue.attributes]
    kinds = {"float32": Array(Float32), "int64": Array(Int64)}
    view = OnDemandFeatureView(
        name=VIEW,
        sources=[
            store.get_feature_view("user_activity")[list(ACTIVITY)],
            store.get_feature_view("user_attributes")[attributes],
        ],
        schema=[Field(name=spec.name, dtype=kinds[spec.dtype]) for spec in bundle.schema.outputs],
        mode="python",
        udf=fill,
        udf_string=_TEXT,
    )
    store.apply([view])


if __name__ == "__main__":
    main()
