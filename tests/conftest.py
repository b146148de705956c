"""Fixtures that several folders share."""

from collections.abc import Iterator

import pytest
from feast import FeatureStore
from hypothesis import HealthCheck, settings

from feature_repo.store import apply
from feature_repo.workspace import Workspace
from streaming.broker.port import Broker
from tests.servers import running_kafka
from tests.shop import shop_workspace

# Other tests run beside: how long an example takes says nothing of the code.
settings.register_profile("beside others", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("beside others")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The small shop, loaded."""
    return shop_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def store(workspace: Workspace) -> FeatureStore:
    """Its feature store, applied: SQLite online, Parquet offline."""
    return apply(workspace)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """A real Kafka for all who leave it running, each with topics of its own."""
    with running_kafka() as broker:
        yield broker
