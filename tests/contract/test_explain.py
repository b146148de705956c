"""Explanations on a shop whose right answers are visible: what pleases one half moves its answers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from kindling.v1 import augment_pb2 as profile_pb
from kindling.v1 import explain_pb2 as pb
from models.opener import Opener
from models.schema import HISTORY_LENGTH, SparseProfile, Tensors
from service.api.explain import Explainer, evidence_of
from service.api.explain_servicer import ExplainServicer
from service.augment import Augmenter
from service.batch.batcher import Batcher
from service.call import Call
from service.errors import InvalidField
from service.fill.blocks import Answer
from service.metrics import Metrics
from service.read.profiles import Reading
from service.versions.prepare import ServingModel, prepare
from service.versions.recorded import Recorded
from tests import checkerboard

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
STORED = SparseProfile({"half": "even"}, 2, [0.5, 0.5, 1.0], ["i4", "i3"], [1.0, 1.0])


class OneModel:
    """Serves everyone by the checkerboard's bundle."""

    def __init__(self) -> None:
        bundle = checkerboard.bundle()
        self.current = prepare(bundle, bundle.schema, Opener(), Recorded())
        self.batches: list[int] = []

    def choose(self, key: str) -> ServingModel:
        return self.current

    def observe(self, model: ServingModel, tensors: Tensors, answer: Answer, seconds: float) -> None:
        self.batches.append(len(tensors["count"]))


class Stored:
    """One user, `ann`; nobody else was ever seen."""

    def read(self, user_ids: Sequence[str], call: Call) -> Reading:
        known = {"ann": STORED}
        return Reading([known.get(user, SparseProfile()) for user in user_ids], [0] * len(user_ids), False)


@pytest.fixture(scope="module")
def models() -> OneModel:
    return OneModel()


@pytest.fixture(scope="module")
def servicer(models: OneModel) -> Iterator[ExplainServicer]:
    catalogue, items = checkerboard.catalogue_and_items()
    metrics = Metrics()
    batcher = Batcher(metrics)
    augmenter = Augmenter(models, Stored(), None, batcher, metrics)
    yield ExplainServicer(
        Explainer(augmenter, items, catalogue.categories), models, Stored(), items, metrics
    )
    batcher.close()


def inline(items: Sequence[str], **attributes: str) -> profile_pb.Profile:
    """A profile whose events are newest first, a day apart."""
    return profile_pb.Profile(
        attributes=[profile_pb.Attribute(name=name, value=value) for name, value in attributes.items()],
        events=[
            profile_pb.Event(item_id=item, value=5, event_time_ms=NOW_MS - age * DAY_MS)
            for age, item in enumerate(items)
        ],
    )


def explained(
    servicer: ExplainServicer, profile: profile_pb.Profile, *rungs: profile_pb.Rung.ValueType, top: int = 9
) -> pb.ExplainResponse:
    return servicer.explain(pb.ExplainRequest(profile=profile, allowed_rungs=rungs, top=top), Call())


def block_of(reply: pb.ExplainResponse, block: profile_pb.Block.ValueType) -> pb.BlockExplanation:
    return next(explained for explained in reply.blocks if explained.block == block)


def test_each_event_speaks_for_its_own_half(servicer: ExplainServicer) -> None:
    reply = explained(servicer, inline(["i2", "i3"], half="even"), profile_pb.RUNG_GENERATOR)
    assert (reply.rung, reply.observed_count) == (profile_pb.RUNG_GENERATOR, 2)
    affinity = block_of(reply, profile_pb.BLOCK_AFFINITY)
    moved = {each.event.item_id: each for each in affinity.contributions if each.HasField("event")}
    even = ("even", "odd")
    for item, (own, other) in {"i2": even, "i3": even[::-1]}.items():
        contribution = moved[item]
        rises = getattr(contribution, "with") > contribution.without
        assert contribution.target in (own, other)
        assert rises == (contribution.target == own), contribution.text
    assert len(affinity.contributions) == 3  # and the attribute
    assert sum(each.share for each in affinity.contributions) == pytest.approx(1, abs=1e-5)
    assert all(
        first.moved >= second.moved
        for first, second in zip(affinity.contributions, affinity.contributions[1:], strict=False)
    )


def test_what_was_declared_is_evidence_too(servicer: ExplainServicer) -> None:
    reply = explained(servicer, inline([], half="odd"), profile_pb.RUNG_SEGMENT_PRIOR)
    (contribution,) = block_of(reply, profile_pb.BLOCK_AFFINITY).contributions
    assert (contribution.attribute.name, contribution.attribute.value) == ("half", "odd")
    assert contribution.rung_without == profile_pb.RUNG_GLOBAL_PRIOR
    assert (contribution.target == "odd") == (getattr(contribution, "with") > contribution.without)
    assert contribution.text.startswith("half = odd")
    assert "segment prior answered, from 0 events and 1 attributes" in reply.summary


def test_nothing_known_is_nothing_to_explain(servicer: ExplainServicer) -> None:
    reply = servicer.explain(pb.ExplainRequest(user_id="nobody"), Call())
    assert (reply.user_id, reply.rung) == ("nobody", profile_pb.RUNG_GLOBAL_PRIOR)
    assert [len(block.contributions) for block in reply.blocks] == [0, 0, 0]
    passed_over = {each.rung: each.reason for each in reply.passed_over}
    assert passed_over[profile_pb.RUNG_GENERATOR] == "nothing is known of the user"


def test_warm_users_are_told_that_nothing_was_filled_in(servicer: ExplainServicer) -> None:
    items = [f"i{item}" for item in range(0, 24, 2)]
    reply = explained(servicer, inline(items, half="even"), top=3)
    assert reply.rung == profile_pb.RUNG_OBSERVED
    assert "Nothing was filled in" in reply.summary
    embedding = block_of(reply, profile_pb.BLOCK_EMBEDDING)
    assert (embedding.origin, embedding.observed_weight) == (profile_pb.ORIGIN_OBSERVED, 1)
    assert len(embedding.contributions) == 3
    assert all(not each.rung_without for each in embedding.contributions)


def test_a_stored_user_is_explained_in_one_batch_of_the_blocks_that_are_wanted(
    servicer: ExplainServicer, models: OneModel
) -> None:
    models.batches.clear()
    request = pb.ExplainRequest(
        user_id="ann",
        allowed_rungs=[profile_pb.RUNG_GENERATOR],
        blocks=[profile_pb.BLOCK_VIRTUAL_ITEMS],
        top=2,
    )
    reply = servicer.explain(request, Call())
    assert models.batches == [1 + 2 + 1]
    (block,) = reply.blocks
    assert (block.block, block.origin) == (profile_pb.BLOCK_VIRTUAL_ITEMS, profile_pb.ORIGIN_GENERATED)
    assert 1 <= len(block.contributions) <= 2
    assert {each.event.title for each in block.contributions if each.HasField("event")} <= {
        "thing 3",
        "thing 4",
    }


def test_rungs_that_change_with_the_count_are_held_still(
    servicer: ExplainServicer, models: OneModel
) -> None:
    """An event less, and validation may prefer another rung: that says nothing of the event."""
    policy = models.current.policy
    for count in range(1, 8):
        reply = explained(servicer, inline([f"i{2 * item}" for item in range(count)], half="even"))
        switched = {each.rung_without for block in reply.blocks for each in block.contributions}
        best = policy.champions.best_rung(count)
        assert switched <= {profile_pb.RUNG_UNSPECIFIED, profile_pb.RUNG_GLOBAL_PRIOR}, (count, best)


def test_at_most_one_padded_batch_of_evidence_is_taken_away() -> None:
    many = SparseProfile({f"a{at}": "x" for at in range(60)}, 90, [1.0], ["i1"] * 90, [1.0] * 90)
    evidence = evidence_of(many)
    assert len(evidence) == 63
    assert sum(not piece.attribute for piece in evidence) == HISTORY_LENGTH
    assert evidence_of(replace(many, items=[], attributes={"half": "", "age": None})) == []


def test_a_profile_that_is_wrong_is_refused_by_field(servicer: ExplainServicer) -> None:
    for request, field in (
        (pb.ExplainRequest(), "user_id"),
        (pb.ExplainRequest(user_id="ann", blocks=[profile_pb.BLOCK_UNSPECIFIED]), "blocks[0]"),
        (pb.ExplainRequest(profile=inline(["sofa"])), "profile.events[0].item_id"),
    ):
        with pytest.raises(InvalidField) as refusal:
            servicer.explain(request, Call())
        assert refusal.value.field == field


def test_movements_are_differences_of_answers(servicer: ExplainServicer, models: OneModel) -> None:
    """Explained values are those that are answered, with and without."""
    bundle = models.current.bundle
    reply = explained(servicer, inline(["i2"], half="even"), profile_pb.RUNG_GENERATOR)
    for contribution in block_of(reply, profile_pb.BLOCK_AFFINITY).contributions:
        assert 0 < contribution.moved <= 1
        assert np.isclose(
            abs(getattr(contribution, "with") - contribution.without),
            contribution.moved,
            atol=2 * contribution.moved,
        )
        assert contribution.target in bundle.schema.catalogue.categories
