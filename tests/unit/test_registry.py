"""Bundles and their registry: whole or not there, checked before they serve, changed in one step."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from kindling.cli.models import app
from models.bundle import MANIFEST_FILE, Bundle, BundleError, Manifest, read_manifest
from models.export.folder import write_bundle
from models.registry import POINTER_FILE, Pointer, Registry, RegistryError, Trial
from models.session import OnnxSession
from tests import checkerboard

VERSIONS = ("20240101T000000Z", "20240102T000000Z", "20240103T000000Z")


def copy_as(root: Path, version: str) -> Path:
    """A bundle of another version, as if trained on another day."""
    original = checkerboard.bundle()
    folder = root / version
    shutil.copytree(original.folder, folder)
    manifest = msgspec.structs.replace(original.manifest, version=version)
    (folder / MANIFEST_FILE).write_bytes(msgspec.json.encode(manifest))
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    for version in VERSIONS:
        copy_as(tmp_path, version)
    return Registry(tmp_path)


def test_an_empty_registry_has_nothing_active(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "nowhere")
    assert registry.versions() == []
    assert registry.active() is None
    with pytest.raises(RegistryError, match="kindling train"):
        registry.activate("20240101T000000Z")
    with pytest.raises(RegistryError, match="no earlier version"):
        registry.rollback()


def test_versions_are_listed_oldest_first_without_what_is_half_written(registry: Registry) -> None:
    shutil.copytree(registry.root / VERSIONS[0], registry.root / f".{VERSIONS[0]}.partial")
    (registry.root / "20240104T000000Z").mkdir()
    assert registry.versions() == list(VERSIONS)


def test_activation_and_rollback_walk_the_history(registry: Registry) -> None:
    for version in (VERSIONS[0], VERSIONS[2], VERSIONS[1]):
        assert registry.activate(version).version == version
    assert registry.history() == (VERSIONS[0], VERSIONS[2], VERSIONS[1])
    assert registry.rollback().version == VERSIONS[2]
    assert registry.rollback().version == VERSIONS[0]
    with pytest.raises(RegistryError, match="no earlier version"):
        registry.rollback()
    assert registry.active_version() == VERSIONS[0]


def test_activating_the_active_version_again_leaves_the_history(registry: Registry) -> None:
    registry.activate(VERSIONS[0])
    registry.activate(VERSIONS[0])
    assert registry.history() == (VERSIONS[0],)


def test_another_process_sees_the_change(registry: Registry) -> None:
    registry.activate(VERSIONS[0])
    reader = Registry(registry.root)
    assert reader.active_version() == VERSIONS[0]
    registry.activate(VERSIONS[1])
    active = reader.active()
    assert active is not None
    assert active.version == VERSIONS[1]


def test_an_interrupted_pointer_change_leaves_the_old_version(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.activate(VERSIONS[0])

    def crash(descriptor: int) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("models.registry.os.fsync", crash)
        with pytest.raises(OSError, match="no space"):
            registry.activate(VERSIONS[1])
    assert registry.active_version() == VERSIONS[0]
    assert registry.activate(VERSIONS[1]).version == VERSIONS[1]


def test_a_malformed_pointer_is_named(registry: Registry) -> None:
    (registry.root / POINTER_FILE).write_text("{")
    with pytest.raises(RegistryError, match=POINTER_FILE):
        registry.active()


def every_file() -> list[str]:
    return sorted(checkerboard.bundle().manifest.sha256)


def test_a_bundle_vouches_for_every_file_it_has() -> None:
    folder = checkerboard.bundle().folder
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(every_file()) == files - {MANIFEST_FILE}
    assert {"generator.onnx", "recommender/user_tower.onnx", "item_vectors.npy"} <= files


def test_one_flipped_byte_in_any_file_is_refused_by_name(registry: Registry) -> None:
    folder = registry.root / VERSIONS[0]
    for name in every_file():
        whole = (folder / name).read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        (folder / name).write_bytes(flipped)
        with pytest.raises(BundleError, match=Path(name).name):
            Bundle.load(folder)
        (folder / name).write_bytes(whole)
    assert Bundle.load(folder).version == VERSIONS[0]


def test_a_missing_file_is_refused_by_name_and_the_active_version_stays(registry: Registry) -> None:
    registry.activate(VERSIONS[0])
    (registry.root / VERSIONS[1] / "generator.onnx").unlink()
    with pytest.raises(BundleError, match=r"generator\.onnx"):
        registry.activate(VERSIONS[1])
    assert registry.active_version() == VERSIONS[0]


def rewrite(folder: Path, **changes: object) -> None:
    manifest: Manifest = msgspec.structs.replace(read_manifest(folder), **changes)
    (folder / MANIFEST_FILE).write_bytes(msgspec.json.encode(manifest))


def test_a_manifest_that_contradicts_itself_is_refused(registry: Registry) -> None:
    folder = registry.root / VERSIONS[0]
    good = read_manifest(folder)
    rewrite(folder, fingerprint="0" * 64)
    with pytest.raises(BundleError, match="schema changed"):
        Bundle.load(folder)
    rewrite(folder, fingerprint=good.fingerprint, sha256={})
    with pytest.raises(BundleError, match="vouches for no"):
        Bundle.load(folder)
    rewrite(folder, sha256=good.sha256, calibration=msgspec.structs.replace(good.calibration, kappa={}))
    with pytest.raises(BundleError, match="calibration"):
        Bundle.load(folder)
    (folder / MANIFEST_FILE).write_text("{}")
    with pytest.raises(BundleError, match="malformed"):
        Bundle.load(folder)


def test_a_crash_while_writing_leaves_no_bundle_and_nothing_beside_it(tmp_path: Path) -> None:
    bundle = checkerboard.bundle()

    def write_half(folder: Path) -> None:
        (folder / "generator.onnx").write_bytes(b"half")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_bundle(tmp_path, bundle.manifest, bundle.item_ids, bundle.item_vectors, write_half)
    assert list(tmp_path.iterdir()) == []


def test_a_version_is_never_written_twice(registry: Registry) -> None:
    bundle = Bundle.load(registry.root / VERSIONS[0])
    with pytest.raises(BundleError, match="exists already"):
        write_bundle(
            registry.root, bundle.manifest, bundle.item_ids, bundle.item_vectors, lambda folder: None
        )


def test_a_bundle_knows_its_items_and_rungs() -> None:
    bundle = checkerboard.bundle()
    assert bundle.item_index["i3"] == 3
    assert bundle.item_vectors.shape == (checkerboard.ITEMS, 8)
    assert list(bundle.rungs) == ["generator", "segment_prior", "global_prior"]
    assert all(path.is_file() for path in bundle.rungs.values())
    assert bundle.cold_below == 10
    assert bundle.metrics["kindling/ndcg@10/0"] > 0


def test_trials_run_beside_the_active_version_and_end_with_it(registry: Registry) -> None:
    first, second, third = VERSIONS
    registry.activate(first)
    registry.set_canary(second, 0.1)
    registry.set_shadow(third, 0.2)
    registry.set_canary(second, 0.3)
    assert registry.pointer() == Pointer((first,), Trial(second, 0.3), Trial(third, 0.2))
    assert registry.promote().version == second
    assert registry.pointer() == Pointer((first, second), None, Trial(third, 0.2))
    registry.activate(third)
    assert registry.pointer() == Pointer((first, second, third))
    registry.set_canary(first, 0.5)
    registry.rollback()
    assert registry.pointer() == Pointer((first, second))


def test_a_trial_is_ended_by_name(registry: Registry) -> None:
    registry.activate(VERSIONS[0])
    assert registry.end_canary() is None
    registry.set_canary(VERSIONS[1], 0.1)
    registry.set_shadow(VERSIONS[2], 0.1)
    assert registry.end_canary() == Trial(VERSIONS[1], 0.1)
    assert registry.end_shadow() == Trial(VERSIONS[2], 0.1)
    assert registry.pointer() == Pointer((VERSIONS[0],))


def test_a_trial_that_makes_no_sense_is_refused_with_the_fix(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="activate another"):
        registry.set_canary(VERSIONS[1], 0.1)
    registry.activate(VERSIONS[0])
    for share in (0, -0.1, 1.5, float("nan")):
        with pytest.raises(RegistryError, match="not in"):
            registry.set_shadow(VERSIONS[1], share)
    with pytest.raises(RegistryError, match="is active itself"):
        registry.set_shadow(VERSIONS[0], 0.1)
    with pytest.raises(RegistryError, match="versions: "):
        registry.set_canary("nowhere", 0.1)
    with pytest.raises(RegistryError, match="models canary VERSION"):
        registry.promote()


def test_changes_at_once_are_all_made(registry: Registry) -> None:
    registry.activate(VERSIONS[0])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(registry.activate, [VERSIONS[1 + turn % 2] for turn in range(20)]))
    history = registry.history()
    assert set(history) == set(VERSIONS)
    assert all(before != after for before, after in pairwise(history))
    assert POINTER_FILE in {path.name for path in registry.root.iterdir()}
    assert not list(registry.root.glob(f".{POINTER_FILE}.*"))


def test_a_bundle_answers_its_samples_as_it_did_when_it_was_trained() -> None:
    bundle = checkerboard.bundle()
    for rung, path in bundle.rungs.items():
        bundle.verify(rung, OnnxSession(path))
    with pytest.raises(BundleError, match=r"generator\.onnx.* away from what it was at training"):
        bundle.verify("generator", OnnxSession(bundle.rungs["global_prior"]))


def test_trials_are_told_on_the_command_line(
    registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("var")
    shutil.copytree(registry.root, folder / "bundles")
    var = ["--var", str(folder)]
    command = CliRunner()

    def run(*arguments: str) -> str:
        return command.invoke(app, [*arguments, *var], catch_exceptions=False).output

    run("activate", VERSIONS[0])
    assert "30.0% of users" in run("canary", VERSIONS[1], "--share", "0.3")
    assert "5.0% of requests" in run("shadow", VERSIONS[2])
    listed = run("list")
    assert all(part in listed for part in ("active", "canary 30.0%", "shadow 5.0%"))
    assert VERSIONS[2] in run("shadow", "--end")
    assert "there was no shadow" in run("shadow", "--end")
    with pytest.raises(RegistryError, match="was not compared"):
        run("promote")
    assert VERSIONS[1] in run("promote", "--force")
    assert VERSIONS[0] in run("rollback")
    with pytest.raises(RegistryError, match="which version"):
        run("canary")
