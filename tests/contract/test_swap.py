"""Models in motion: who serves whom, what is refused, and that no answer is of two minds."""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from models.bundle import BundleError
from models.opener import Opener
from models.registry import POINTER_FILE, Registry, RegistryError
from models.session import DeviceUnavailable, InferenceSession
from service.fill.infer import run_rung
from service.metrics import Metrics
from service.versions.swap import ActiveModel, ServingModel
from tests.marked import (
    SCHEMA,
    asked,
    doctor,
    marked_bundle,
    nan_above,
    other_items,
    shifted,
    sign,
    too_wide,
)
from tests.waiting import eventually

MARKS = {"v1": 1.0, "v2": 2.0, "v3": 3.0}
USERS = [f"u{user}" for user in range(400)]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    for version, mark in MARKS.items():
        marked_bundle(tmp_path, version, mark)
    registry = Registry(tmp_path)
    registry.activate("v1")
    return registry


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def model(registry: Registry, metrics: Metrics) -> Iterator[ActiveModel]:
    model = ActiveModel(registry, SCHEMA, metrics=metrics)
    yield model
    model.close()


def served_by(model: ActiveModel) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for user in USERS:
        users.setdefault(model.choose(user).bundle.version, []).append(user)
    return users


def mark_of(model: ServingModel, rung: str = "generator") -> float:
    return float(run_rung(model.sessions[rung], asked([0]), SCHEMA)["filled_embedding"][0, 1])


def test_an_activated_bundle_takes_over_and_rollback_takes_one_call(
    registry: Registry, model: ActiveModel
) -> None:
    assert not model.refresh()
    registry.activate("v2")
    assert model.refresh()
    assert mark_of(model.current) == 2
    registry.rollback()
    assert model.refresh()
    assert mark_of(model.current) == 1
    assert served_by(model) == {"v1": USERS}


def test_a_canary_serves_its_share_of_users_and_keeps_them_as_it_grows(
    registry: Registry, model: ActiveModel
) -> None:
    registry.set_canary("v2", 0.1)
    assert model.refresh()
    few = served_by(model)
    assert 0.05 < len(few["v2"]) / len(USERS) < 0.16
    assert model.choose(few["v2"][0]).track == "canary"
    registry.set_canary("v2", 0.5)
    model.refresh()
    many = served_by(model)
    assert set(few["v2"]) < set(many["v2"])
    assert 0.4 < len(many["v2"]) / len(USERS) < 0.6
    assert ActiveModel(registry, SCHEMA).choose(few["v2"][0]).bundle.version == "v2"
    assert {model.choose("").bundle.version for _ in range(200)} == {"v1", "v2"}


def test_a_promoted_canary_serves_everyone_by_the_sessions_it_has(
    registry: Registry, model: ActiveModel
) -> None:
    registry.set_canary("v2", 0.5)
    model.refresh()
    canary = next(chosen for user in USERS if (chosen := model.choose(user)).track == "canary")
    assert registry.promote().version == "v2"
    model.refresh()
    assert served_by(model) == {"v2": USERS}
    assert model.current.track == "active"
    assert model.current.sessions is canary.sessions


def test_an_ended_canary_serves_nobody(registry: Registry, model: ActiveModel) -> None:
    registry.set_canary("v2", 1.0)
    model.refresh()
    assert served_by(model) == {"v2": USERS}
    registry.end_canary()
    model.refresh()
    assert served_by(model) == {"v1": USERS}


def test_rollback_takes_the_canarys_users_back_too(registry: Registry, model: ActiveModel) -> None:
    registry.activate("v2")
    registry.set_canary("v3", 0.5)
    model.refresh()
    registry.rollback()
    model.refresh()
    assert served_by(model) == {"v1": USERS}


def flip(folder: Path) -> None:
    path = folder / "generator.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_catalogue(folder: Path) -> None:
    import msgspec

    schema = msgspec.structs.replace(SCHEMA, items_sha256="0" * 64)
    sign(folder, schema=schema, fingerprint=schema.fingerprint)


def no_model(folder: Path) -> None:
    (folder / "generator.onnx").write_bytes(b"no model")
    sign(folder)


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "a flipped byte": (flip, r"generator\.onnx was altered"),
    "another catalogue": (other_catalogue, "other items or vocabularies"),
    "no model": (no_model, r"generator\.onnx"),
    "not finite": (lambda folder: doctor(folder, nan_above(5)), "filled_embedding is nan away"),
    "wrong shape": (
        lambda folder: doctor(folder, too_wide),
        r"filled_embedding is \(64, 8\), not \(64, 4\)",
    ),
    "other numbers": (lambda folder: doctor(folder, shifted), "away from what it was at training"),
    "other items": (lambda folder: doctor(folder, other_items), "0% of the items"),
    "a prior, other items": (lambda folder: doctor(folder, other_items, "global_prior"), "global_prior"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_bundle_that_is_not_what_was_trained_is_refused_and_the_old_one_serves_on(
    registry: Registry,
    model: ActiveModel,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
    broken: str,
) -> None:
    spoil, message = BROKEN[broken]
    registry.activate("v2")  # while it is whole: it is damaged on the way to the server
    spoil(registry.root / "v2")
    for _ in range(3):
        assert not model.refresh()
    assert served_by(model) == {"v1": USERS}
    assert metrics.refused_bundles.value("v2", "active") == 1
    assert len(caplog.records) == 1
    assert caplog.records[0].levelname == "ERROR"
    caplog.clear()
    with pytest.raises(BundleError, match=message):
        ActiveModel(registry, SCHEMA)
    registry.activate("v3")
    assert model.refresh()
    assert served_by(model) == {"v3": USERS}


def test_a_broken_canary_or_shadow_is_refused_and_serves_nobody(
    registry: Registry, model: ActiveModel, metrics: Metrics
) -> None:
    registry.set_canary("v2", 1.0)
    registry.set_shadow("v3", 1.0)
    for version in ("v2", "v3"):
        doctor(registry.root / version, shifted)
    assert not model.refresh()
    assert served_by(model) == {"v1": USERS}
    assert metrics.refused_bundles.value("v2", "canary") == 1
    assert metrics.refused_bundles.value("v3", "shadow") == 1


def test_what_fails_on_recorded_requests_is_refused_though_its_samples_are_fine(
    registry: Registry, model: ActiveModel, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    marked_bundle(registry.root, "v4", 4.0, nan_above(1000))
    for _ in range(16):
        model.recorded.note(asked([2000]))
    registry.activate("v4")
    assert not model.refresh()
    assert "filled_embedding is not finite" in caplog.text
    assert metrics.refused_bundles.value("v4", "active") == 1


def test_a_pointer_that_is_damaged_changes_nothing_and_is_said_once(
    registry: Registry, model: ActiveModel, caplog: pytest.LogCaptureFixture
) -> None:
    (registry.root / POINTER_FILE).write_bytes(b"{")
    for _ in range(3):
        assert not model.refresh()
    assert len(caplog.records) == 1
    assert served_by(model) == {"v1": USERS}


class Away(Opener):
    """A device that is away now and then."""

    away = False

    def open(self, rung: str, path: Path) -> InferenceSession:
        if Away.away:
            raise DeviceUnavailable("nobody there")
        return super().open(rung, path)


def test_a_device_that_is_away_condemns_no_bundle(
    registry: Registry, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ActiveModel(registry, SCHEMA, Away(), metrics)
    registry.activate("v2")
    monkeypatch.setattr(Away, "away", True)
    assert not model.refresh()
    assert metrics.refused_bundles.value("v2", "active") == 0
    monkeypatch.setattr(Away, "away", False)
    assert model.refresh()
    assert served_by(model) == {"v2": USERS}


def test_every_worker_follows_the_folder(registry: Registry) -> None:
    workers = [ActiveModel(registry, SCHEMA) for _ in range(3)]
    for worker in workers:
        worker.follow(every_s=0.01)
    try:
        registry.activate("v2")
        for worker in workers:
            assert eventually(lambda worker=worker: worker.current.bundle.version == "v2")  # type: ignore[misc]
    finally:
        for worker in workers:
            worker.close()


def test_a_replaced_model_is_released_once_its_last_request_ends(
    registry: Registry, model: ActiveModel
) -> None:
    request = model.choose("u1")
    session = weakref.ref(request.sessions["generator"])
    registry.activate("v2")
    model.refresh()
    gc.collect()
    assert session() is not None
    assert mark_of(request) == 1
    del request
    gc.collect()
    assert session() is None


def test_swaps_under_load_never_mix_versions_and_fail_nobody(
    registry: Registry, model: ActiveModel
) -> None:
    stop = threading.Event()

    def caller(number: int) -> set[str]:
        seen = set()
        while not stop.is_set():
            chosen = model.choose(f"u{number}")
            mark = MARKS[chosen.bundle.version]
            for rung in ("generator", "segment_prior", "global_prior"):
                fill = run_rung(chosen.sessions[rung], asked([number, 0]), SCHEMA)
                assert fill["filled_embedding"].tolist() == [
                    [number, mark, mark, mark],
                    [0, mark, mark, mark],
                ]
            seen.add(chosen.bundle.version)
        return seen

    with ThreadPoolExecutor(4) as callers:
        results = [callers.submit(caller, number) for number in range(4)]
        for version in ("v2", "v3", "v1", "v2", "v3"):
            registry.activate(version)
            assert model.refresh()
            registry.set_canary("v1" if version != "v1" else "v2", 0.5)
            assert model.refresh()
        stop.set()
        seen = set().union(*(result.result() for result in results))
    assert seen == set(MARKS)


def test_answers_are_counted_by_version_part_and_rung(
    registry: Registry, model: ActiveModel, metrics: Metrics
) -> None:
    from tests.unit.test_shadow import answer

    registry.set_canary("v2", 1.0)
    model.refresh()
    chosen = model.choose("u1")
    model.observe(chosen, asked([1, 2]), answer(rungs=("generator", "segment_prior")), 0.01)
    assert metrics.model_rows.value("v2", "canary", "generator") == 1
    assert metrics.model_rows.value("v2", "canary", "segment_prior") == 1
    assert metrics.model_seconds.count("v2", "canary") == 1


def test_a_shadow_answers_once_more_and_serves_nobody(
    registry: Registry, model: ActiveModel, metrics: Metrics
) -> None:
    from tests.unit.test_shadow import answer

    seen: list[tuple[str, str, int]] = []

    def ask(chosen: ServingModel, tensors: dict[str, np.ndarray]) -> object:
        seen.append((chosen.bundle.version, chosen.track, len(tensors["count"])))
        return answer()

    model.shadow_by(ask)  # type: ignore[arg-type]
    registry.set_shadow("v2", 1.0)
    model.refresh()
    assert served_by(model) == {"v1": USERS}
    model.observe(model.current, asked([1]), answer(), 0.01)
    assert eventually(lambda: metrics.shadow_rows.value("v2", "same") == 1)
    assert seen == [("v2", "shadow", 1)]
    registry.end_shadow()
    model.refresh()
    model.observe(model.current, asked([1]), answer(), 0.01)
    model.close()
    assert len(seen) == 1


def test_an_empty_registry_serves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="kindling train"):
        ActiveModel(Registry(tmp_path), SCHEMA)
