"""`kindling privacy`: how true to life filled profiles are, and whether they betray who trained them."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kindling.cli.options import Var
from kindling.cli.progress import steps
from kindling.settings import load_settings

_SHOWN = ("fidelity.kolmogorov_smirnov", "fidelity.wasserstein", "privacy.distance_ratio")


def privacy(
    generators: Annotated[
        str, typer.Option(help="Which, by name, with commas between.")
    ] = "encoder,kshot_linear,gaussian,vae,gan",
    told: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="As for `kindling train`: privacy.epsilon=8, say."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the users held out, and of training.")] = 0,
    var: Var = None,
) -> None:
    """Train on four fifths of the users, at random, and attack what comes of it with the others.

    Fidelity: distances of filled from real profiles, feature by feature. Privacy: whether filled profiles
    copy a training user's (the nearest neighbour's distance over the second nearest's, beside that of real
    profiles), and how well membership in training is guessed (0.5 is chance). The default
    fusion is attacked with its members if all of them are asked for. Table and results.json.

    Raises:
        TrainingError: too few users, or an option that cannot be.
    """
    import torch

    from feature_repo.catalogue import load_catalogue, load_items
    from feature_repo.workspace import Workspace
    from kindling.results import Row, write_results
    from models.content import content_vectors
    from models.evaluation.audit import audit
    from models.evaluation.folds import make_folds
    from models.schema import TensorSchema
    from models.training.crossfit import try_members
    from models.training.fusion import fit_fusion
    from models.training.generators import FUSED, MEMBERS, PRIORS, train_members
    from models.training.ground import lay_ground
    from models.training.histories import item_category_shares, load_histories
    from models.training.options import read_options
    from models.training.recommender import RANKERS
    from models.training.regime import Regime

    torch.set_num_threads(1)
    settings, started, console = load_settings(var=var), datetime.now(UTC), Console()
    workspace = Workspace(settings.var.resolve())
    catalogue = load_catalogue(workspace.data)
    items = load_items(workspace.data, catalogue)
    histories, shares = (
        load_histories(workspace.data, catalogue, items),
        item_category_shares(catalogue, items),
    )
    regime = Regime(read_options(settings.training, told or ()))
    split, content = make_folds(histories, seed=seed)[0], content_vectors(catalogue, items)
    schema = TensorSchema.of(catalogue, items)
    with steps() as shown:
        ground = lay_ground(schema, histories, split, content, shares, seed, RANKERS, shown.watch, regime)
        members = train_members(ground, generators.split(","), seed, MEMBERS, shown.watch)
        fillers = {name: filler for name, (filler, _) in members.items() if name != "blank"}
        if members.keys() >= {*FUSED}:
            fused = {name: members[name] for name in (*PRIORS, *FUSED)}
            fillers["fusion"], _ = fit_fusion(ground, fused, try_members(ground, fused, seed, shown.watch))
        shown.begin("attack")
        numbers = list(audit(ground, histories, fillers))
    table = Table(
        "filled by", "k", *(name.partition(".")[2].replace("_", " ") for name in _SHOWN), "attack"
    )
    for name in [*fillers, "real profiles"]:
        for k in dict.fromkeys(number.labels["k"] for number in numbers):
            mine = [number for number in numbers if number.subject == name and number.labels["k"] == k]
            means = {n.measure: n.value for n in mine if n.labels.get("block", "embedding") == "embedding"}
            attacks = [n for n in mine if n.measure == "privacy.membership_auc"]
            worst = max(attacks, key=lambda n: n.value, default=None)
            cells = [f"{means[measure]:.3f}" if measure in means else "" for measure in _SHOWN]
            said = f"{worst.value:.3f} [{worst.low:.3f}, {worst.high:.3f}]" if worst else ""
            table.add_row(name, str(k), *cells, said)
    path = workspace.root / "privacy" / "results.json"
    rows = [Row(*number) for number in numbers]
    write_results(path, "privacy", started, {"generators": generators, "set": told, "seed": seed}, rows)
    console.print(table)
    console.print(f"results  {path}", soft_wrap=True, highlight=False)
