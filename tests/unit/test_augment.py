"""The path every call takes: who answers, what happens when a rung cannot, and what stays behind."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from models.bundle import Bundle
from models.schema import SparseProfile, Tensors
from models.session import OnnxSession
from service.augment import NO_ITEM, Answer, Augmenter
from service.batch.batcher import Batcher
from service.call import Call, Options
from service.errors import Cancelled, DeadlineTooShort, Overloaded
from service.fill.circuit import Circuit
from service.fill.decide import Policy
from service.fill.ladder import PRIORS, Circuits, Pace
from service.metrics import Metrics
from service.read.cache import EnrichedCache
from service.read.profiles import Reading
from service.versions.prepare import ServingModel
from tests.marked import SCHEMA, marked_bundle
from tests.waiting import eventually

MARK = 7.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Every rung answers embeddings [count, 7, 7, ...]."""
    return marked_bundle(tmp_path_factory.mktemp("bundles"), "v1", MARK)


class Gated:
    """A session that waits for its gate, and may be broken."""

    def __init__(self, session: OnnxSession) -> None:
        self._session = session
        self.gate, self.runs, self.broken = threading.Event(), 0, False
        self.gate.set()

    def run(self, tensors: Tensors) -> Tensors:
        self.runs += 1
        assert self.gate.wait(30)
        if self.broken:
            raise RuntimeError("no kernel")
        return self._session.run(tensors)


@dataclass
class World:
    """An augmenter and everything around it, in memory."""

    bundle: Bundle
    generator: Gated
    model: ServingModel
    profiles: dict[str, SparseProfile] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    store_is_down: bool = False
    offered: list[tuple[list[str], Answer]] = field(default_factory=list)
    observed: list[Answer] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.batch_by(Batcher(self.metrics, {"interactive": 64, "bulk": 64}, stuck_after_s=30))

    def batch_by(self, batcher: Batcher) -> None:
        self.batcher = batcher
        cache: EnrichedCache[Answer] = EnrichedCache(self.metrics)
        self.augmenter = Augmenter(self, self, self, batcher, self.metrics, cache)

    def choose(self, key: str) -> ServingModel:
        return self.model

    def observe(self, model: ServingModel, tensors: Tensors, answer: Answer, seconds: float) -> None:
        self.observed.append(answer)

    def read(self, user_ids: Sequence[str], call: Call) -> Reading:
        if self.store_is_down:
            return Reading([SparseProfile()] * len(user_ids), [None] * len(user_ids), True)
        profiles = [self.profiles.get(user, SparseProfile()) for user in user_ids]
        return Reading(profiles, [self.versions.get(user, 1) for user in user_ids], False)

    def offer(
        self, user_ids: Sequence[str], answer: Answer, bundle: Bundle, versions: Sequence[int | None]
    ) -> None:
        assert bundle is answer.bundle
        self.offered.append((list(user_ids), answer))

    def ask(self, *users: str, call: Call | None = None, **options: Any) -> Answer:
        return self.augmenter.users(users, Options(**options), call or Call())


def known(events: int) -> SparseProfile:
    """Someone of York who did so many things, all of them with green tea."""
    seen = ["green"] * min(events, 5)
    return SparseProfile({"city": "York"}, events, [float(events), 0, 0], seen, [1.0] * len(seen))


@pytest.fixture
def world(bundle: Bundle) -> Iterator[World]:
    generator = Gated(OnnxSession(bundle.rungs["generator"]))
    priors = {rung: OnnxSession(path) for rung, path in bundle.rungs.items() if rung != "generator"}
    circuits = Circuits(lambda: Circuit(failures=3, cool_down_s=60))
    policy = Policy(frozenset(bundle.rungs), bundle.calibration, bundle.cold_below, Pace(), circuits)
    made = World(bundle, generator, ServingModel(bundle, {"generator": generator, **priors}, policy))
    made.profiles |= {f"u{events}": known(events) for events in range(12)}
    yield made
    generator.gate.set()
    made.batcher.close()


def rungs(answer: Answer) -> list[str]:
    return [decision.rung for decision in answer.decisions]


def test_each_row_is_answered_by_the_rung_it_needs_and_in_its_place(world: World) -> None:
    users = ["u3", "nobody", "u11", "u0", "u5", "u3"]
    answer = world.ask(*users)
    expected = ["generator", "global_prior", "observed", "generator", "generator", "generator"]
    assert rungs(answer) == expected
    assert answer.counts.tolist() == [3, 0, 11, 0, 5, 3]
    # All item vectors being zero, embeddings are the fill: it shows whose row it is.
    assert answer.embedding[:, 0].tolist() == [3, 0, 0, 0, 5, 3]
    assert answer.embedding[:, 1].tolist() == [MARK, MARK, 0, MARK, MARK, MARK]
    assert (answer.virtual_items[2] == NO_ITEM).all()
    assert (answer.virtual_items[[0, 1, 3, 4, 5]] >= 0).all()
    np.testing.assert_allclose(answer.affinity.sum(axis=1), 1, rtol=1e-5)
    assert answer.observed_weight[:, 0].tolist() == [0.75, 0, 1, 0, pytest.approx(5 / 6), 0.75]
    assert not answer.degraded


def test_a_row_alone_is_answered_as_among_others(world: World) -> None:
    users = ["u3", "nobody", "u11", "u0"]
    together = world.ask(*users)
    for row, user in enumerate(users):
        alone = world.ask(user)
        assert rungs(alone) == rungs(together)[row : row + 1]
        for name, block in alone.blocks().items():
            np.testing.assert_array_equal(block[0], together.blocks()[name][row])


def test_more_rows_than_a_batch_holds_are_answered_in_order(world: World) -> None:
    counts = np.arange(200) % 12
    tensors = SCHEMA.encode([known(int(count)) for count in counts], {})
    world.batcher.close()
    world.batch_by(Batcher(world.metrics, stuck_after_s=30))
    answer = world.augmenter.packed(tensors, Options(), Call(priority="bulk"))
    assert answer.embedding[:, 0].tolist() == [count if count < 10 else 0 for count in counts.tolist()]
    nobodies = SCHEMA.encode([SparseProfile()] * 200, {})
    assert set(rungs(world.augmenter.packed(nobodies, Options(), Call()))) == {"global_prior"}


def test_an_answer_is_handed_over_unless_it_is_a_dry_run(world: World) -> None:
    world.ask("u3", dry_run=True)
    assert not world.offered
    answer = world.ask("u3")
    assert not answer.cached
    assert world.offered == [(["u3"], answer)]
    assert world.ask("u3", dry_run=True).cached


def test_a_degraded_row_keeps_no_other_from_being_handed_over(world: World) -> None:
    world.generator.broken = True
    answer = world.ask("u3", "nobody", "u11")
    assert rungs(answer) == ["segment_prior", "global_prior", "observed"]
    assert answer.degraded
    ((users, handed_over),) = world.offered
    assert (users, rungs(handed_over)) == (["nobody", "u11"], ["global_prior", "observed"])
    assert not handed_over.degraded
    np.testing.assert_array_equal(handed_over.affinity, answer.affinity[1:])
    assert handed_over.counts.tolist() == [0, 11]


def test_an_answer_is_kept_while_the_evidence_is_unchanged(world: World) -> None:
    first = world.ask("u3")
    again = world.ask("u3")
    assert (first.cached, again.cached) == (frozenset(), frozenset({0}))
    assert again.generated_at == first.generated_at
    assert len(world.offered) == len(world.observed) == world.generator.runs == 1
    world.profiles["u3"], world.versions["u3"] = known(4), 2
    newer = world.ask("u3")
    assert not newer.cached
    assert newer.counts.tolist() == [4]
    assert world.ask("u3", allowed=frozenset({"segment_prior"})).decisions[0].rung == "segment_prior"


def test_with_the_store_down_what_is_kept_answers_and_priors_the_rest(world: World) -> None:
    world.ask("u3")
    world.store_is_down = True
    alone = world.ask("u3")
    assert (rungs(alone), alone.degraded, alone.cached) == (["generator"], True, frozenset({0}))
    answer = world.ask("u5", "u3")
    assert rungs(answer) == ["global_prior", "generator"]
    assert answer.embedding[:, 0].tolist() == [0, 3]
    assert (answer.degraded, answer.cached, answer.counts.tolist()) == (True, frozenset({1}), [0, 3])
    assert len(world.offered) == 1
    assert world.metrics.degraded.value("store") == 3
    inline = world.augmenter.inline([known(2)], Options(), Call())
    assert (rungs(inline), inline.degraded) == (["generator"], False)


def test_a_rung_that_fails_hands_over_and_is_left_alone_after_a_while(world: World) -> None:
    world.generator.broken = True
    for _ in range(3):
        answer = world.ask("u3")
        assert rungs(answer) == ["segment_prior"]
        assert answer.decisions[0].passed_over == ["generator: it failed"]
        assert (answer.degraded, answer.decisions[0].degraded) == (True, "failure")
    world.generator.broken = False
    answer = world.ask("u3")
    assert "left alone" in answer.decisions[0].passed_over[0]
    assert answer.decisions[0].degraded == "circuit"
    assert world.generator.runs == 3
    assert not world.offered
    assert world.metrics.degraded.value("failure") == 3
    assert world.metrics.rung_failures.value("generator", "failure") == 3


def test_a_batch_that_is_late_is_not_waited_for_to_the_last(world: World) -> None:
    world.generator.gate.clear()
    answer = world.ask("u3", call=Call.within(0.15))
    assert set(rungs(answer)) < PRIORS
    assert (answer.degraded, answer.decisions[0].degraded) == (True, "late")
    world.generator.gate.set()
    # What was learned of its pace keeps the next caller in a hurry from trying it.
    answer = world.ask("u3", call=Call.within(0.05))
    assert set(rungs(answer)) < PRIORS
    assert answer.decisions[0].degraded == "deadline"


def test_how_long_bulk_calls_wait_keeps_nobody_in_a_hurry_from_a_rung(world: World) -> None:
    world.generator.gate.clear()
    hasty = Call.within(0.1)
    hasty.priority = "bulk"
    assert world.ask("u3", call=hasty).decisions[0].degraded == "late"
    world.generator.gate.set()
    assert world.model.policy.pace.p99_ms("generator") == 0


def test_a_stuck_thread_leaves_the_priors_to_answer_until_it_returns(world: World) -> None:
    world.batcher.close()
    world.batch_by(Batcher(world.metrics, stuck_after_s=0.2))
    world.generator.gate.clear()
    answer = world.ask("u3")  # has no deadline, and yet does not wait for ever
    assert (rungs(answer), answer.decisions[0].degraded) == (["segment_prior"], "stuck")
    assert world.metrics.stuck.value() == 1
    assert world.ask("u4", call=Call.within(0.05)).decisions[0].degraded == "stuck"
    assert rungs(world.ask("nobody", "u11")) == ["global_prior", "observed"]
    world.generator.gate.set()
    assert eventually(lambda: not world.batcher.stuck)
    assert rungs(world.ask("u3", call=Call.within(30))) == ["generator"]


def test_nobody_is_answered_after_the_deadline_or_having_gone(world: World) -> None:
    with pytest.raises(DeadlineTooShort):
        world.ask("u3", call=Call.within(-1))
    with pytest.raises(Cancelled):
        world.ask("u3", call=Call(is_active=lambda: False))
    assert world.generator.runs == 0


def test_a_full_queue_is_said_with_when_to_come_again(world: World) -> None:
    world.generator.gate.clear()
    tensors = SCHEMA.encode([known(3)] * 64, {})
    busy = world.batcher.submit(world.model.fillers["generator"], tensors, Call())
    assert eventually(lambda: world.generator.runs == 1)
    queued = world.batcher.submit(world.model.fillers["generator"], tensors, Call())
    with pytest.raises(Overloaded) as refusal:
        world.ask("u3")
    assert refusal.value.retry_after_s > 0
    world.generator.gate.set()
    for pending in (busy, queued):
        pending.result(30)


def test_concurrent_calls_about_one_user_share_the_work(world: World) -> None:
    world.generator.gate.clear()
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(world.ask("u3"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: world.generator.runs == 1)
    world.generator.gate.set()
    for thread in threads:
        thread.join(30)
    assert world.generator.runs == 1
    assert [rungs(answer) for answer in answers] == [["generator"]] * 4


def test_answers_are_counted_by_rung_and_by_what_was_known(world: World) -> None:
    world.ask("u3", "u4", "nobody", "u11")
    world.ask("u3")
    counted = world.metrics.answers.value
    assert (counted("generator", "2"), counted("global_prior", "0"), counted("observed", "10")) == (3, 1, 1)


def test_a_shadow_answers_unseen(world: World) -> None:
    shadow = ServingModel(world.bundle, world.model.sessions, world.model.policy, "shadow")
    answer = world.augmenter.fill(shadow, SCHEMA.encode([known(3)], {}), Options(), Call(priority="bulk"))
    assert rungs(answer) == ["generator"]
    assert not world.observed
    assert world.metrics.answers.value("generator", "2") == 0
    assert answer.generated_at <= datetime.now(UTC)
