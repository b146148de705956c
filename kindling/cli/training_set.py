"""`kindling training-set`: point-in-time correct features for a ranker to train on."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kindling.cli.options import Var
from kindling.cli.progress import bar
from kindling.settings import load_settings


def training_set(
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    var: Var = None,
    entities: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet with user_id, event_timestamp and labels.",
            show_default="every logged event",
        ),
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(help="view:feature to join, once each.", show_default="all observed features"),
    ] = None,
) -> None:
    """Write OUT: for each (user, moment) the features as they stood just before that moment.

    Only what users did and declared is joined, unless a generated feature is asked for by name, such as
    `--feature user_augmented:filled_affinity`: a ranker trained on a fill learns its errors.
    """
    settings = load_settings(var=var)
    console = Console()
    with console.status("opening the feature store"):
        import pyarrow.parquet as pq

        from feature_repo import training_set as sets
        from feature_repo.catalogue import load_catalogue, load_items
        from feature_repo.event_log import labelled_events
        from feature_repo.offline import hold
        from feature_repo.store import open_store
        from feature_repo.workspace import Workspace
        from streaming.snapshots import Snapshots

        workspace = Workspace(settings.var.resolve())
        store = open_store(workspace)
    features = feature or sets.observed_features(store)
    sets.check_features(store, features)
    rows = sets.read_entities(entities) if entities else labelled_events(workspace)
    catalogue = load_catalogue(workspace.data)
    snapshots = Snapshots(workspace, store, catalogue, load_items(workspace.data, catalogue))
    with bar(console, "snapshots of user features") as shown:
        snapshots.update(shown.begin, shown.advance)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    written, writer = 0, None
    with hold(workspace, alone=False), bar(console, f"joining {len(features)} features") as shown:
        shown.begin(len(rows))
        for part in sets.join(store, rows, features):
            writer = writer or pq.ParquetWriter(partial, part.schema)
            writer.write_table(part.cast(writer.schema))
            written += len(part)
            shown.advance(len(part))
    if writer is None:
        raise sets.TrainingSetError("--entities: the file has no rows: give it some")
    writer.close()
    partial.replace(out)
    generated = [name for name in features if name.startswith(f"{sets.AUGMENTED_VIEW}:")]
    if generated:
        console.print(f"[yellow]with generated features[/]: {', '.join(generated)}")
    console.print(f"{written:,} rows of {len(features)} features in [bold]{out}[/]")
