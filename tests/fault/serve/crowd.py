"""A crowd at the batcher, in company and without: shuffled ids, and a model that tells whose row it saw."""

import random
import threading
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.schema import Tensors
from service.batch.approach import Approach
from service.batch.batcher import Batcher
from service.batch.company import Company
from service.batch.pending import Pending
from service.batch.stage import LARGEST
from service.call import Call
from service.metrics import Metrics
from tests.fault.serve.counted import inferred
from tests.fault.serve.oracle import Verdict

Ids = npt.NDArray[np.int64]

_THREADS = 8
_IDS = 50_000
_MOST_ROWS = 3 * LARGEST


class Marker:
    """Answers each row with its own id, twice over."""

    def run(self, tensors: Tensors) -> Tensors:
        """Ids as they came."""
        return {"whose": tensors["id"].copy(), "again": tensors["id"].copy()}


def crowded(rows: int, seed: int) -> Verdict:
    """Ask for `rows` rows in all; every answer is compared with what was asked."""
    verdict, lock, metrics = Verdict(), threading.Lock(), Metrics()
    batcher = Batcher(metrics, {"interactive": 1 << 20, "bulk": 1 << 20})
    sessions = [Marker(), Marker()]

    def infer(ids: Sequence[int]) -> list[int]:
        rows = batcher.submit(sessions[0], {"id": np.array(ids).reshape(-1, 1)}, Call()).result(60)
        return [int(whose) for whose in rows["whose"][:, 0]]

    company = Company(infer, approach := Approach(), metrics)

    def call_on(thread: int) -> None:
        draw = np.random.default_rng([seed, thread])
        left = rows // _THREADS
        pending: list[tuple[Ids, Pending]] = []
        while left > 0 or pending:
            while left > 0 and len(pending) < 16:
                size = min(left, int(draw.integers(1, _MOST_ROWS)) if draw.random() < 0.2 else 1 + left % 4)
                ids = draw.integers(0, _IDS, (size, 1))
                session = sessions[int(draw.integers(2))]
                call = Call(priority="bulk" if draw.random() < 0.3 else "interactive")
                pending.append((ids, batcher.submit(session, {"id": ids}, call)))
                left -= size
            if left > 0:
                approach.begin()
                one = int(draw.integers(_IDS))
                whose = company.ask(one, Call())
                approach.leave()
                left -= 1
                with lock:
                    verdict.calls += 1
                    if whose != one:
                        verdict.wrong_answers += 1
            ids, promise = pending.pop(random.randrange(len(pending)))
            answer = promise.result(60)
            with lock:
                verdict.calls += len(ids)
                for name in ("whose", "again"):
                    others = (
                        int((answer[name] != ids).sum()) if answer[name].shape == ids.shape else len(ids)
                    )
                    verdict.wrong_answers += others
                    if others and len(verdict.wrong) < 5:
                        verdict.wrong.append(f"{others} rows of {len(ids)} were another caller's")

    threads = [threading.Thread(target=call_on, args=(number,)) for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batcher.close()
    if verdict.calls != rows // _THREADS * _THREADS:
        verdict.failed = Counter({"UNANSWERED": rows - verdict.calls})
    batches, rows_run = inferred(metrics, "model")
    verdict.notes["rows_a_batch"] = rows_run / batches
    return verdict
