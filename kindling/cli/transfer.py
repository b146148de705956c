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

_WIDTH = 64
_LONGEST = 32
"""Tokens of a text that are read: a review says what it is about at its start."""


def transfer(
    source: Annotated[
        Path, typer.Argument(help="A data set to learn from, as `kindling data load` takes it.")
    ],
    target: Annotated[Path, typer.Argument(help="A data set of another site, or of the same.")],
    share: Annotated[
        float, typer.Option(min=0.01, max=0.5, help="Of the target's users, to fine-tune on.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Of the users drawn, and of training.")] = 0,
    var: Var = None,
) -> None:
    """Pretrain by self-supervision on SOURCE, fine-tune on a part of TARGET's users, judge by all others.

    Every part takes its turn. The two sites share nothing but what words mean: a sentence encoder reads
    what is written of the items, where one is installed (extra `text`). Table and results.json, whether it
    helped or not.

    Raises:
        DatasetError: a data set cannot be read.
        TrainingError: it has too few users or events.
    """
    from functools import partial

    import torch

    from kindling.results import Row, write_results
    from models.content import word_vectors
    from models.datasets import detect
    from models.evaluation.site import Encode
    from models.evaluation.transfer import COUNTS, METRIC, SUBJECTS, measure_transfer
    from models.teachers.encoder import SentenceEncoder, packaged_encoder

    torch.set_num_threads(1)
    started, console = datetime.now(UTC), Console()
    home, weights = load_settings(var=var).var.resolve() / "transfer", packaged_encoder()
    encode: Encode = partial(word_vectors, width=_WIDTH)
    if weights is not None:
        encode = partial(SentenceEncoder(weights, _LONGEST).encode, cache=home / "vectors")
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / side for side in ("source", "target")]
        for data, folder in zip((source, target), folders, strict=True):
            detect.load(data).save(folder)
        found = measure_transfer(folders[0], folders[1], share, encode, seed)
    table = Table(
        f"{METRIC} on {found.target}, {found.parts} × {found.users} users trained on",
        *(f"k={count}" for count in COUNTS),
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
    arguments = {"source": str(source), "target": str(target), "share": share, "seed": seed}
    arguments["encoder"] = None if weights is None else weights.parent.name
    write_results(home / "results.json", "transfer", started, arguments, rows)
    console.print(table)
    console.print(f"results  {home / 'results.json'}", soft_wrap=True, highlight=False)
