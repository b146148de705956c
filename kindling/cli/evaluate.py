"""`kindling evaluate`: what every way of filling is worth, on users that nothing was fitted on."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from kindling.cli.options import Var
from kindling.cli.progress import steps
from kindling.settings import load_settings

if TYPE_CHECKING:
    from kindling.results import Row
    from models.evaluation.evaluation import Evaluation


def evaluate(
    var: Var = None,
    data: Annotated[
        Path | None,
        typer.Option(help="A data set, as `kindling data load` takes it.", show_default="the loaded one"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The first fold and the default models alone.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of folds and training.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Folds at once.", show_default="one a core")
    ] = None,
) -> None:
    """Compare ways to fill and recommenders on held-out users, five folds over users on small data.

    Each fold is kept: a run that was cut short goes on where it stood. Table, results.json and an HTML
    report with all numbers, unfavourable ones too.
    """
    root = load_settings(var=var).var.resolve()
    console, started = Console(), datetime.now(UTC)
    folder = root / "evaluate"
    with steps() as shown:
        shown.begin("loading PyTorch")
        import torch

        from feature_repo.workspace import Workspace
        from kindling.results import Row, write_results
        from models.datasets import detect
        from models.evaluation.evaluation import evaluate as run
        from models.evaluation.fold import Plan
        from models.evaluation.report import write_report
        from models.evaluation.runs import cores
        from models.training.generators import LEARNED

        torch.set_num_threads(1)
        source = Workspace(root).data
        if data is not None:
            source = folder / "data"
            detect.load(data).save(source)
        plan = Plan(seed=seed, others=() if quick else tuple(LEARNED))
        evaluation = run(source, folder / "folds", plan, 1 if quick else None, shown.watch, jobs or cores())
        shown.begin("intervals")
        rows = [Row(*number) for number in evaluation.numbers()]
        shown.begin("cold items")
        rows += cold_items(evaluation, source, folder / "vectors")
        arguments = {"data": str(data) if data else None, "quick": quick, "seed": seed}
        write_results(folder / "results.json", "evaluate", started, arguments, rows)
        write_report(evaluation, folder / "report.html")
    console.print(table_of(evaluation))
    console.print(
        f"results  {folder / 'results.json'}\nreport   [bold]{folder / 'report.html'}[/]", soft_wrap=True
    )


def cold_items(evaluation: "Evaluation", source: Path, cache: Path) -> "list[Row]":
    """Recall of items held out of training, by words and, where an encoder is installed, by meaning.

    Catalogues too large for a matrix of items by items are left out.
    """
    from feature_repo.catalogue import load_items
    from kindling.results import Row
    from models.content import content_vectors
    from models.evaluation.cold_items import measure_cold_items
    from models.knowledge.views import fuse_views
    from models.teachers.encoder import SentenceEncoder, packaged_encoder
    from models.training.examples import DENSE_ITEMS
    from models.training.histories import item_category_shares

    catalogue = evaluation.catalogue
    items = load_items(source, catalogue)
    if len(items) > DENSE_ITEMS:
        return []
    shares = item_category_shares(catalogue, items)
    views = {"words": content_vectors(catalogue, items)}
    encoder = packaged_encoder()
    if encoder is not None:
        views["text"] = SentenceEncoder(encoder).encode(items.texts, cache)
    measured = measure_cold_items(evaluation.histories, fuse_views(views), shares, catalogue.name)
    return [Row(*number) for number in measured]


def table_of(evaluation: "Evaluation") -> Table:
    """NDCG@10 by recommender, fill and k, and its lift over count-shrinkage; bold where that is proven."""
    from models.evaluation.evaluation import BASELINE
    from models.evaluation.scores import Case

    counts = evaluation.counts()
    table = Table(Column("fill", no_wrap=True), *(f"k={k}" for k in counts), box=box.SIMPLE_HEAD)
    for recommender in evaluation.recommenders():
        table.add_row(f"[italic]{recommender}[/]", *[""] * len(counts))
        for fill in dict.fromkeys(case.fill for case in evaluation.cases(recommender)):
            cells = []
            for k in counts:
                case = Case(recommender, fill, k)
                gain = evaluation.scores.lift(case, BASELINE, "ndcg@10")
                text = f"{evaluation.scores.metric(case, 'ndcg@10').mean():.3f} {gain.value:+.3f}"
                cells.append(f"[bold]{text}[/]" if gain.low > 0 or gain.high < 0 else text)
            table.add_row(fill, *cells)
        table.add_section()
    return table
