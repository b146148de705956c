"""The peer: a stateful quixstreams application that keeps the same features a user. Runs in an environment
of its own, as a script: `quix.py JOB.json`; its samples are the last line of its output.

Nothing of ours is imported, so that it may have its own versions of everything.
"""

import json
import os
import resource
import sys
import time
from math import exp2
from pathlib import Path
from typing import Any

from quixstreams import Application, State  # type: ignore[import-not-found]

_SAMPLE_EVERY = 2_000
_PAGE = resource.getpagesize()


def sample(events: int) -> list[float]:
    """As `samples.Sample`: time, CPU seconds, events, resident bytes."""
    times = os.times()
    rss = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    return [time.monotonic(), times.user + times.system, events, rss]


def folding(job: dict[str, Any]) -> Any:
    """(event, state) → nothing: count, counts by type, decayed affinity, the newest events."""
    categories: dict[str, list[int]] = job["categories"]
    weights: dict[str, float] = job["weights"]
    names = list(weights)
    width, kept, half_life_ms = job["width"], job["recent_length"], job["half_life_ms"]

    def fold(event: dict[str, Any], state: State) -> None:
        row = state.get("row")
        time_ms, item = event["event_time"], event["item_id"]
        weight = weights[event["type"]]
        if row is None:
            row = [0, [0] * len(names), 0, time_ms, time_ms, [0.0] * width, [], [], []]
        count, types, total, first, last, affinity, items, item_weights, times = row
        newest = max(last, time_ms)
        decay = exp2((last - newest) / half_life_ms)
        affinity = [mass * decay for mass in affinity]
        share = weight * exp2((time_ms - newest) / half_life_ms) / len(categories[item])
        for category in categories[item]:
            affinity[category] += share
        types[names.index(event["type"])] += 1
        state.set(
            "row",
            [
                count + 1,
                types,
                total + (event.get("value") or 0),
                min(first, time_ms),
                newest,
                affinity,
                [item, *items[: kept - 1]],
                [weight, *item_weights[: kept - 1]],
                [time_ms, *times[: kept - 1]],
            ],
        )

    return fold


def main(job: dict[str, Any]) -> None:
    """Take in `job["events"]` events of the topic."""
    os.sched_setaffinity(0, {job["core"]})
    samples: list[list[float]] = []
    done = 0

    def count(topic: str, partition: int, offset: int) -> None:
        nonlocal done
        done += 1
        if done % _SAMPLE_EVERY == 0:
            samples.append(sample(done))

    application = Application(
        broker_address=job["bootstrap"],
        consumer_group=job["group"],
        auto_offset_reset="earliest",
        state_dir=job["folder"],
        on_message_processed=count,
        loglevel="ERROR",
    )
    frame = application.dataframe(application.topic(job["topic"], value_deserializer="json"))
    frame.apply(folding(job), stateful=True)
    application.run(frame, count=job["events"], timeout=60, collect=False)
    samples.append(sample(done))
    print(json.dumps(samples))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
