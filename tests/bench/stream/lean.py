"""The measured processes as a deployment has them: without PyTorch, which Feast imports wherever it is.

Imported before anything else in them, and light itself.
"""

import sys
from multiprocessing.connection import Connection

sys.modules["torch"] = None  # type: ignore[assignment]  # what an installation without `train` finds


def measure_fresh(job: bytes, answer: Connection) -> None:
    """As `loops.measure`, in a process that has imported everything itself."""
    import msgspec

    from tests.bench.stream.loops import Job, measure

    measure(msgspec.msgpack.decode(job, type=Job), answer)
