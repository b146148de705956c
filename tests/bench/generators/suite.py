"""The suite: a bundle is trained once and timed in turns; numbers go to `var/bench/generators/`."""

import argparse
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from feature_repo.catalogue import load_catalogue, load_items
from feature_repo.workspace import Workspace
from kindling.results import Row, write_results
from models.bundle import Bundle
from models.datasets import detect, simulator
from models.registry import Registry
from models.samples import example_inputs
from models.schema import Tensors
from models.session import OnnxSession
from models.training.arguments import Arguments
from models.training.histories import item_category_shares, load_histories
from models.training.options import Options
from models.training.train import train
from tests.bench.generators.plain import write_plain

BATCHES = (1, 8, 32, 64)
_FOLDER = Path("var/bench/generators")
_PLAIN = "plain two-layer network"
_NAMES = {"generator": "kindling, the default rung", "segment_prior": "segment prior", _PLAIN: _PLAIN}


def main() -> None:
    """Train if need be, measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.generators")
    parser.add_argument("--data", type=Path, default=None, help="a data set; a simulated shop if not given")
    parser.add_argument("--rounds", type=int, default=40, help="turns that each model has")
    parser.add_argument("--runs", type=int, default=50, help="runs a turn, of which the mean counts")
    told = parser.parse_args()
    started = datetime.now(UTC)
    torch.set_num_threads(1)
    workspace = Workspace(_FOLDER / (told.data.name if told.data else "simulator"))
    bundle = trained(workspace, told.data)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "plain.onnx"
        write_plain(path, bundle.schema, bundle.item_vectors, example_inputs(bundle.schema))
        files = {"generator": bundle.rungs["generator"], _PLAIN: path}
        files["segment_prior"] = bundle.rungs["segment_prior"]
        rows = measured(files, {size: cold_users(workspace, bundle, size) for size in BATCHES}, told)
    dataset = bundle.schema.catalogue.name
    rows = [Row(**{**vars(row), "labels": {**row.labels, "dataset": dataset}}) for row in rows]
    print(text := table(rows), end="")
    arguments = {"data": str(told.data) if told.data else None, "rounds": told.rounds, "runs": told.runs}
    write_results(_FOLDER / "results.json", "bench-generators", started, arguments, rows)
    (_FOLDER / "table.md").write_text(text, encoding="utf-8")
    print(f"results  {_FOLDER / 'results.json'}")


def trained(workspace: Workspace, data: Path | None) -> Bundle:
    """The bundle kept in the workspace; the first call loads the data and trains it.

    Briefly: time does not depend on what was learned.
    """
    registry = Registry(workspace.bundles)
    active = registry.active()
    if active is not None:
        return active
    source = detect.load(data) if data else simulator.simulate()
    source.save(workspace.data)
    arguments = Arguments(rankers=1, options=Options(epochs=1, crossed=0))
    bundle = train(workspace.data, workspace.bundles, arguments)
    registry.activate(bundle.version)
    return bundle


def cold_users(workspace: Workspace, bundle: Bundle, rows: int) -> Tensors:
    """Inputs of users after 0 to `cold_below` − 1 of their events, as the default rung is asked for."""
    catalogue = load_catalogue(workspace.data)
    items = load_items(workspace.data, catalogue)
    histories = load_histories(workspace.data, catalogue, items)
    users = np.random.default_rng(0).permutation(len(histories.user_ids))[:rows]
    counts = (np.arange(rows) + 3) % bundle.manifest.cold_below
    cut = histories.first(users, counts)
    return histories.observe(cut, bundle.schema, item_category_shares(catalogue, items))


def measured(
    files: Mapping[str, Path], inputs: Mapping[int, Tensors], told: argparse.Namespace
) -> list[Row]:
    """Milliseconds a run of every model and batch size, by the wall and by the thread's own clock.

    Models take turns, so that whatever else the machine does slows all of them alike.
    """
    sessions = {name: OnnxSession(path) for name, path in files.items()}
    rows: list[Row] = []
    for batch, tensors in inputs.items():
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in sessions}
        for turn in range(told.rounds + 1):
            for name, session in sessions.items():
                times = turned(session, tensors, told.runs)
                if turn:  # the first warms
                    spent[name].append(times)
        for name, turns in spent.items():
            wall, own = zip(*turns, strict=True)
            rows += [_row("forward", name, batch, wall), _row("forward_cpu", name, batch, own)]
        for name in ("generator", "segment_prior"):
            pairs = zip(spent[name], spent[_PLAIN], strict=True)
            ratios = [ours[1] / plain[1] for ours, plain in pairs]
            rows.append(_row("over_plain", name, batch, ratios, "times"))
    for name, path in files.items():
        rows.append(Row("generators.size", _NAMES[name], path.stat().st_size / 2**20, "MiB"))
    return rows


def turned(session: OnnxSession, tensors: Tensors, runs: int) -> tuple[float, float]:
    """Mean milliseconds a run, by the wall and of this thread, which computes it all."""
    wall, own = time.perf_counter(), time.thread_time()
    for _ in range(runs):
        session.run(tensors)
    return (time.perf_counter() - wall) * 1e3 / runs, (time.thread_time() - own) * 1e3 / runs


def _row(measure: str, name: str, batch: int, values: Sequence[float], unit: str = "ms") -> Row:
    """The median turn, between the fastest and the slowest."""
    return Row(
        f"generators.{measure}",
        _NAMES[name],
        float(np.median(values)),
        unit,
        min(values),
        max(values),
        len(values),
        {"batch": batch},
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown: milliseconds of the thread's own time, and the wall's, by batch size."""
    sizes = [f"batch {batch}" for batch in BATCHES]
    lines = [f"| ms, own time (wall) | {' | '.join(sizes)} |", "|---|" + "--:|" * len(BATCHES)]
    values = {(row.measure, row.subject, row.labels.get("batch")): row.value for row in rows}
    for name in _NAMES.values():
        cells = [
            f"{values['generators.forward_cpu', name, batch]:.3f} "
            f"({values['generators.forward', name, batch]:.3f})"
            for batch in BATCHES
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
