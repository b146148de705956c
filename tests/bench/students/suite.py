"""The suite: a student is made, squeezed and timed; numbers go to `var/bench/students-*/results.json`."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from kindling.results import Row, write_results
from models.bucketed import BucketedSession
from models.bundle import half_of, integers_of
from models.export.half import write_half
from models.session import BUCKETS, OnnxSession, RuntimeProviderError, require_runtime
from models.students.quantise import quantise
from models.students.student import SIZES, SizeName
from models.teachers.lessons import read_manifest
from tests.bench.students.asked import TOKENS, ask
from tests.bench.students.subject import cold_users, overlap, write_student

SOAK_RUNS = 50_000
_SAMPLES = 25


def main() -> None:
    """Measure on the CPU or on the GPU."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.students")
    parser.add_argument("where", choices=("cpu", "gpu"))
    parser.add_argument("--size", choices=tuple(SIZES), default=None, help="tiny on cpu, small on gpu")
    parser.add_argument("--lessons", type=Path, nargs="*", default=[], help="teachers to compare with")
    parser.add_argument("--ask", type=int, default=4, help="users to ask a causal model about, cpu alone")
    parser.add_argument("--soak", type=int, default=SOAK_RUNS, help="batches of the memory soak, gpu alone")
    told = parser.parse_args()
    size: SizeName = told.size or ("tiny" if told.where == "cpu" else "small")
    if told.where == "gpu":
        require_gpu()
    started = datetime.now(UTC)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "student.onnx"
        write_student(path, size)
        rows = (
            on_cpu(path, size, told.lessons, told.ask)
            if told.where == "cpu"
            else on_gpu(path, size, told.soak)
        )
    for row in rows:
        spread = "" if row.low is None else f"{row.low:.4f} to {row.high:.4f}"
        print(f"{row.measure:20} {row.value:12.4f} {row.unit:8} {spread:24} {dict(row.labels)}")
    target = Path("var/bench") / f"students-{told.where}" / "results.json"
    arguments = {
        "where": told.where,
        "size": size,
        "lessons": [str(each) for each in told.lessons],
        "ask": told.ask,
    }
    write_results(target, "bench-students", started, arguments, rows)
    print(f"results  {target}")


def require_gpu() -> None:
    """Stop, loudly, where there is none: a number from elsewhere would be no GPU's."""
    try:
        require_runtime("cuda")
        subprocess.run(["nvidia-smi"], check=True, capture_output=True)
    except (RuntimeProviderError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"NOTHING WAS MEASURED: this machine has no GPU that ONNX Runtime could use ({error})")


def on_cpu(path: Path, size: SizeName, lessons: Sequence[Path], asked: int) -> list[Row]:
    """Latency of one core by batch size, in 32 and 8 bits, in turns; and how much longer teachers take.

    Args:
        lessons: runs of teachers, which kept how long they took.
        asked: users to ask a causal model about, see `asked`.
    """
    quantise(path, integers_of(path), [cold_users(64, seed) for seed in range(1, 5)])
    sessions = {"fp32": OnnxSession(path), "int8": OnnxSession(integers_of(path))}
    rows: list[Row] = []
    fastest: dict[tuple[str, int], float] = {}
    for batch in (1, 8, 32, 64):
        inputs = cold_users(batch)
        for name, session in sessions.items():
            run = partial(session.run, inputs)
            rows.append(latency(timed(run), size, name, batch))
            # A busy machine takes turns with others, which the thread's own time leaves out.
            spent = timed(run, clock=time.thread_time)
            fastest[name, batch] = float(np.median(spent))
            rows.append(replace(latency(spent, size, name, batch), measure="student.cpu"))
    inputs = cold_users(256, seed=9)
    kept = overlap(sessions["int8"].run(inputs), sessions["fp32"].run(inputs))
    rows.append(
        Row(
            "student.overlap@10",
            f"student:{size}",
            kept,
            "share",
            n=256,
            labels={"precision": "int8"},
        )
    )
    fast = fastest["int8", 32] / 32
    for folder in lessons:
        taught = read_manifest(folder)
        per_user = 1e3 * taught.seconds / max(taught.cases, 1)
        rows += beside_teacher(taught.teacher, per_user, taught.cases, size, fast, {})
    if asked:
        told = ask(path.parent, asked)
        labels = {"parameters": told.parameters, "tokens": TOKENS, "weights": "drawn"}
        rows += beside_teacher("causal", told.milliseconds, told.users, size, fast, labels)
    return rows


def beside_teacher(
    teacher: str, per_user: float, users: int, size: SizeName, fast: float, labels: Mapping[str, object]
) -> list[Row]:
    """Milliseconds that a teacher takes a user, and how many of its student's, in batches, these are."""
    compared = {**labels, "teacher": teacher, "batch": 32, "precision": "int8"}
    return [
        Row("teacher.latency", f"teacher:{teacher}", per_user, "ms/user", n=users, labels=labels),
        Row("teacher.ratio", f"student:{size}", per_user / fast, "times", n=users, labels=compared),
    ]


def on_gpu(path: Path, size: SizeName, soak: int) -> list[Row]:
    """Latency by batch size in half precision, from CUDA graphs; agreement; device memory over a soak."""
    write_half(path, half_of(path))
    session, home = BucketedSession(half_of(path), "cuda"), OnnxSession(path)
    rows: list[Row] = []
    for batch in BUCKETS:
        inputs = cold_users(batch)
        times = timed(partial(session.run, inputs), 2000)
        rows.append(latency(times, size, "fp16", batch))
        per_second = 1e3 * batch / float(np.median(times))
        rows.append(
            Row(
                "student.throughput",
                f"student:{size}",
                per_second,
                "users/s",
                n=len(times),
                labels={"precision": "fp16", "batch": batch},
            )
        )
    inputs = cold_users(64, seed=9)
    rows.append(
        Row(
            "student.overlap@10",
            f"student:{size}",
            overlap(session.run(inputs), home.run(inputs)),
            "share",
            n=64,
            labels={"precision": "fp16"},
        )
    )
    used, rng, batches = [], np.random.default_rng(0), {size: cold_users(size) for size in range(1, 65)}
    for turn in range(soak):
        session.run(batches[int(rng.integers(1, 65))])
        if turn % max(1, soak // _SAMPLES) == 0:
            used.append(device_mib())
    rows.append(
        Row(
            "student.soak",
            f"student:{size}",
            float(np.median(used)),
            "MiB",
            min(used),
            max(used),
            soak,
            {"precision": "fp16"},
        )
    )
    return rows


def timed(
    run: Callable[[], object], runs: int = 400, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Milliseconds of each run, after some that warm."""
    for _ in range(20):
        run()
    times = []
    for _ in range(runs):
        since = clock()
        run()
        times.append((clock() - since) * 1e3)
    return times


def latency(times: Sequence[float], size: SizeName, precision: str, batch: int) -> Row:
    """The median, between the fastest run and the 99th percentile."""
    low, high = float(np.min(times)), float(np.quantile(times, 0.99))
    labels = {"precision": precision, "batch": batch}
    return Row(
        "student.latency", f"student:{size}", float(np.median(times)), "ms", low, high, len(times), labels
    )


def device_mib() -> float:
    """Memory that is taken on the device."""
    told = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(told.stdout.splitlines()[0])
