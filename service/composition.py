"""Everything behind the port, put together: from the store and the models to the services that answer."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from feast import FeatureStore

from feature_repo.catalogue import load_catalogue, load_items
from feature_repo.workspace import Workspace
from models.opener import Opener
from models.registry import Registry
from models.schema import TensorSchema
from service.api.admin_servicer import AdminServicer
from service.api.enriched import EnrichedFeatures
from service.api.explain import Explainer
from service.api.explain_servicer import ExplainServicer
from service.api.feast_contract import Contract
from service.api.feast_servicer import FeastServicer
from service.api.rpc import Service
from service.api.servicer import AugmentServicer
from service.api.stored import StoredFills
from service.augment import Augmenter
from service.batch.approach import Approach
from service.batch.batcher import Batcher
from service.call import Call, Options
from service.metrics import Metrics
from service.read.cache import EnrichedCache
from service.read.profiles import Profiles
from service.versions.swap import ActiveModel
from service.write_back.writer import WriteBack


@dataclass(frozen=True)
class Composition:
    """What a server is made of.

    Attributes:
        services: for it to answer.
        models: the model that serves now.
        profiles: what is read of users; knows whether the store answers.
        write_back: what is yet to be written.
        metrics: of all of it.
        approach: told of each call that a thread takes up.
    """

    services: list[Service]
    models: ActiveModel
    profiles: Profiles
    write_back: WriteBack
    metrics: Metrics
    approach: Approach


@contextmanager
def composed(
    workspace: Workspace, store: FeatureStore, opener: Opener, metrics: Metrics, threads: int = 16
) -> Iterator[Composition]:
    """Open everything, warm; close it when the block ends, and write what waits.

    Args:
        opener: where models run.
        threads: requests handled at once.

    Raises:
        RegistryError, BundleError: there is no model to serve with.
    """
    catalogue = load_catalogue(workspace.data)
    items = load_items(workspace.data, catalogue)
    schema, registry = TensorSchema.of(catalogue, items), Registry(workspace.bundles)
    # Feast's SQLite store has one connection for all threads.
    lock = threading.Lock()
    with ExitStack() as stack:
        models = ActiveModel(registry, schema, opener, metrics)
        write_back = WriteBack(store, workspace, metrics, lock)
        stack.callback(write_back.close)
        profiles = Profiles.of(store, catalogue, metrics, lock)
        stack.callback(profiles.close)
        fills = StoredFills.of(store, lock)
        stack.callback(fills.close)
        contract = Contract(store)
        stack.callback(contract.close)
        batcher, approach = Batcher(metrics), Approach()
        stack.callback(batcher.close)
        stack.callback(models.close)
        augmenter = Augmenter(
            models, profiles, write_back, batcher, metrics, EnrichedCache(metrics), approach
        )
        models.shadow_by(lambda model, rows: augmenter.fill(model, rows, Options(), Call(priority="bulk")))
        augment = AugmentServicer(
            augmenter, models, items, EnrichedFeatures(profiles, fills, catalogue), metrics, threads
        )
        stack.callback(augment.close)
        explainer = Explainer(augmenter, items, catalogue.categories)
        # Opens the store's connections before a caller waits for them.
        profiles.read(["warm-up"], Call())
        models.follow()
        contract.follow()
        yield Composition(
            [
                augment.service(),
                ExplainServicer(explainer, models, profiles, items, metrics).service(),
                AdminServicer(registry, models, schema, metrics).service(),
                *FeastServicer(
                    store, contract, augmenter, models, profiles, fills, metrics, lock
                ).services(),
            ],
            models,
            profiles,
            write_back,
            metrics,
            approach,
        )
