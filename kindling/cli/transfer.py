"""`kindling transfer`: what pretraining on one site's users is worth to another site."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kindling.cli.options import Var
from kindling.settings import load_settings


def transfer(
    source: Annotated[
        Path, typer.Argument(help="A data set to learn from, as `kindling data load` takes it.")
    ],
    target: Annotated[Path, typer.Argument(help="A data set of another site, or of the same.")],
    share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of the target's training users, to fine-tune on.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Of the users drawn, and of training.")] = 0,
    var: Var = None,
) -> None:
    """Pretrain by self-supervision on SOURCE, fine-tune on some of TARGET, judge by its held-out users.

    The two sites share nothing but the words that describe their items. Table and results.json, whether
    it helped or not.

    Raises:
        DatasetError: a data set cannot be read.
        TrainingError: it has too few users or events.
    """
    import torch

    from kindling.results import Row, write_results
    from models.datasets import detect
    from models.evaluation.transfer import COUNTS, METRIC, SUBJECTS, measure_transfer

    torch.set_num_threads(1)
    started, console = datetime.now(UTC), Console()
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / side for side in ("source", "target")]
        for data, folder in zip((source, target), folders, strict=True):
            detect.load(data).save(folder)
        found = measure_transfer(folders[0], folders[1], share, seed)
    table = Table(
        f"{METRIC} on {found.target}, {found.users} users trained on", *(f"k={count}" for count in COUNTS)
    )
    rows = []
    for subject in SUBJECTS:
        means = {count: found.interval(subject, count) for count in COUNTS}
        table.add_row(subject.replace("_", " "), *(f"{mean.value:.3f}" for mean in means.values()))
        for count, mean in means.items():
            labels = {"k": count, "dataset": found.target, "source": found.source, "share": share}
            rows.append(
                Row(f"transfer.{METRIC}", subject, mean.value, "share", mean.low, mean.high, mean.n, labels)
            )
    table.add_section()
    for subject, over in (("transferred", "scratch"), ("day_one", "content")):
        gains = {count: found.lift(subject, over, count) for count in COUNTS}
        cells = (f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]" for gain in gains.values())
        table.add_row(f"{subject} − {over}".replace("_", " "), *cells)
        for count, gain in gains.items():
            labels = {"k": count, "dataset": found.target, "source": found.source, "over": over}
            rows.append(
                Row(f"lift.{METRIC}", subject, gain.value, "share", gain.low, gain.high, gain.n, labels)
            )
    path = load_settings(var=var).var.resolve() / "transfer" / "results.json"
    arguments = {"source": str(source), "target": str(target), "share": share, "seed": seed}
    write_results(path, "transfer", started, arguments, rows)
    console.print(table)
    console.print(f"results  {path}", soft_wrap=True, highlight=False)
