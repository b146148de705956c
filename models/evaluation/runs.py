"""Runs: folds side by side, each in a process of its own, and each kept once it is done."""

import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from threading import Thread

import torch

from models.evaluation.fold import Data, Plan, run_fold
from models.training.ground import Progress, Watch
from models.training.split import Split, TrainingError

Note = tuple[int, Progress]
"""A fold's number and where it is."""


def cores() -> int:
    """How many folds this process may well run at once."""
    return len(os.sched_getaffinity(0))


def run_folds(
    data: Data, splits: Mapping[Path, tuple[int, Split]], plan: Plan, watch: Watch, jobs: int
) -> None:
    """Run each fold and save its scores at its path.

    Args:
        splits: by path, a fold's number and its split.
        jobs: how many at once; one is run right here.

    Raises:
        TrainingError: there is too little data, or a process was ended from outside.
    """
    if min(jobs, len(splits)) <= 1:
        for path, (fold, split) in splits.items():
            run_fold(data, split, plan, partial(_named, watch, fold)).save(path)
        return
    context = get_context("forkserver")
    context.set_forkserver_preload([run_fold.__module__])  # imported once, which takes longest
    notes: SimpleQueue[Note | None] = context.SimpleQueue()
    listener = Thread(target=_listen, args=(notes, watch), daemon=True)
    listener.start()
    try:
        with ProcessPoolExecutor(min(jobs, len(splits)), context, _begin, (notes,)) as pool:
            running = [
                pool.submit(_run, data, split, plan, fold, path) for path, (fold, split) in splits.items()
            ]
            try:
                for run in as_completed(running):
                    run.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except BrokenProcessPool as error:
        raise TrainingError(
            "a process that ran a fold was ended, perhaps for want of memory; folds that are done "
            "are kept: go on with fewer at once (--jobs 1)"
        ) from error
    finally:
        notes.put(None)
        listener.join()


def _named(watch: Watch, fold: int, progress: Progress) -> None:
    watch(progress._replace(step=f"fold {fold + 1}: {progress.step}"))


def _listen(notes: "SimpleQueue[Note | None]", watch: Watch) -> None:
    while (note := notes.get()) is not None:
        fold, progress = note
        _named(watch, fold, progress)


_told: "list[SimpleQueue[Note | None]]" = []
"""Whom this process tells where it is, if it was started to run folds."""


def _begin(notes: "SimpleQueue[Note | None]") -> None:
    _told.append(notes)
    torch.set_num_threads(1)  # the other cores have folds of their own


def _run(data: Data, split: Split, plan: Plan, fold: int, path: Path) -> None:
    def tell(progress: Progress) -> None:
        for notes in _told:
            notes.put((fold, progress))

    run_fold(data, split, plan, tell).save(path)
