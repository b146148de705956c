"""`kindling distil`: from a teacher's lessons to a bundle whose student serves in its place."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kindling.cli.options import Var
from kindling.cli.progress import steps
from kindling.cli.train import Lessons, Pruned, StudentSize, train
from kindling.settings import load_settings


def distil(
    var: Var = None,
    lessons: Lessons = None,
    size: StudentSize = "tiny",
    pruned: Pruned = 0.0,
    seed: Annotated[int, typer.Option(help="Of the teacher and of the training.")] = 0,
    activate: Annotated[
        bool, typer.Option("--activate/--no-activate", help="Let the new bundle serve, as `train` does.")
    ] = True,
) -> None:
    """Train a bundle with a student of the lessons given.

    Without lessons, a teacher of behaviour is trained first, on the users who train the bundle, and teaches
    on them and on those it is validated by. A folder of lessons is what `kindling teach` writes.
    """
    root = load_settings(var=var).var.resolve()
    folders = lessons or [teach_behaviour(root, seed)]
    train(var=var, activate=activate, seed=seed, lessons=folders, student=size, pruned=pruned)


def teach_behaviour(root: Path, seed: int) -> Path:
    """Train a behaviour teacher on the warm users of the loaded data; the folder of its lessons on them."""
    from feature_repo.workspace import Workspace
    from models.teachers.cases import cut_all
    from models.teachers.lessons import dataset_fingerprint, teach
    from models.teachers.school import School

    data = Workspace(root).data
    with steps() as shown:
        shown.begin("reading what training users did")
        school = School.open(data)
        on_epoch = partial(shown.epoch, "training a teacher of behaviour")
        teacher = school.train_behaviour(school.content(), seed, on_epoch=on_epoch)
        shown.begin("teaching")
        return teach(teacher, cut_all(school.warm()), dataset_fingerprint(data), root / "lessons")
