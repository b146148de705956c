"""A catalogue without attributes: nothing is declared, so the attribute tensor has no columns at all."""

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from kindling.v1 import augment_pb2 as pb
from models.bundle import Bundle
from models.schema import SparseProfile
from models.session import OnnxSession
from models.training.arguments import Arguments
from models.training.train import train
from service.api.request import unpack_profiles
from tests import checkerboard


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    root = tmp_path_factory.mktemp("plain")
    data = checkerboard.write_shop(root / "data")
    msgspec.structs.replace(checkerboard.CATALOGUE, attributes=()).save(data)
    users = pq.read_table(data / "users.parquet", columns=["user_id"])
    pq.write_table(users, data / "users.parquet")
    return train(data, root / "bundles", Arguments(members=1, rankers=1))


def test_every_rung_answers_without_attributes(bundle: Bundle) -> None:
    profile = SparseProfile({}, 1, [1.0, 0.0, 1.0], ["i2"], [1.0])
    tensors = bundle.schema.encode([profile, SparseProfile()], bundle.item_index)
    assert tensors["attributes"].shape == (2, 0)
    for path in bundle.rungs.values():
        fill = OnnxSession(path).run(tensors)
        np.testing.assert_allclose(fill["filled_affinity"].sum(axis=1), 1, rtol=1e-4)
        assert np.isfinite(fill["filled_embedding"]).all()


def test_an_empty_tensor_is_packed_as_no_bytes(bundle: Bundle) -> None:
    tensors = bundle.schema.encode([SparseProfile()], bundle.item_index)
    packed = pb.PackedProfiles(
        schema_fingerprint=bundle.schema.fingerprint,
        rows=1,
        affinity=tensors["affinity"].tobytes(),
        history_items=tensors["history_items"].tobytes(),
        history_weights=tensors["history_weights"].tobytes(),
        count=tensors["count"].tobytes(),
    )
    assert unpack_profiles(packed, bundle.schema)["attributes"].shape == (1, 0)
