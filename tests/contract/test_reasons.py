"""Reason codes: what a student's teacher leans on, told in what this user did."""

from collections.abc import Iterator, Sequence

import pytest

from kindling.v1 import augment_pb2 as profile_pb
from kindling.v1 import explain_pb2 as pb
from models.opener import Opener
from models.schema import SparseProfile, Tensors
from service.api.explain import Explainer
from service.api.explain_servicer import ExplainServicer
from service.augment import Augmenter
from service.batch.batcher import Batcher
from service.call import Call
from service.fill.blocks import Answer
from service.metrics import Metrics
from service.read.profiles import Reading
from service.versions.prepare import ServingModel, prepare
from service.versions.recorded import Recorded
from tests import checkerboard, taught


class OneModel:
    """Serves everyone by the bundle with a student."""

    def __init__(self) -> None:
        self.current = prepare(taught.bundle(), taught.bundle().schema, Opener(), Recorded())

    def choose(self, key: str) -> ServingModel:
        return self.current

    def observe(self, model: ServingModel, tensors: Tensors, answer: Answer, seconds: float) -> None:
        pass


class Nobody:
    """No user was ever seen."""

    def read(self, user_ids: Sequence[str], call: Call) -> Reading:
        return Reading([SparseProfile()] * len(user_ids), [0] * len(user_ids), False)


@pytest.fixture(scope="module")
def servicer() -> Iterator[ExplainServicer]:
    catalogue, items = checkerboard.catalogue_and_items()
    metrics, models, batcher = Metrics(), OneModel(), Batcher(Metrics())
    augmenter = Augmenter(models, Nobody(), None, batcher, metrics)
    yield ExplainServicer(
        Explainer(augmenter, items, catalogue.categories), models, Nobody(), items, metrics
    )
    batcher.close()


def explained(
    servicer: ExplainServicer, items: Sequence[str], rung: profile_pb.Rung.ValueType, **attributes: str
) -> pb.ExplainResponse:
    profile = profile_pb.Profile(
        attributes=[profile_pb.Attribute(name=name, value=value) for name, value in attributes.items()],
        events=[
            profile_pb.Event(item_id=item, value=5, event_time_ms=1_700_000_000_000 - place)
            for place, item in enumerate(items)
        ],
    )
    return servicer.explain(pb.ExplainRequest(profile=profile, allowed_rungs=[rung]), Call())


def test_the_student_answers_as_distilled(servicer: ExplainServicer) -> None:
    reply = explained(servicer, ["i2", "i4"], profile_pb.RUNG_STUDENT, half="even")
    assert reply.rung == profile_pb.RUNG_STUDENT
    assert {block.origin for block in reply.blocks} == {profile_pb.ORIGIN_DISTILLED}


def test_who_declared_alone_is_explained_by_that(servicer: ExplainServicer) -> None:
    """The teacher's rationale of users without events names what they declared, and nothing else."""
    reply = explained(servicer, [], profile_pb.RUNG_STUDENT, half="even")
    (reason,) = reply.reasons
    assert (reason.code, reason.subject) == (pb.REASON_CODE_ATTRIBUTE, "half")
    assert reason.text == "because half is even"


def test_events_are_explained_by_the_edges_that_the_teacher_names(servicer: ExplainServicer) -> None:
    """The teacher's rationale of users with events names a category."""
    reply = explained(servicer, ["i2", "i4"], profile_pb.RUNG_STUDENT, half="even")
    first = reply.reasons[0]
    assert first.code == pb.REASON_CODE_KNOWLEDGE_EDGE
    assert first.subject in ("i2", "i4") and first.target not in ("i2", "i4")
    assert first.text.endswith(f"are both {first.relation}")
    assert first.weight >= reply.reasons[-1].weight


def test_priors_have_no_teacher(servicer: ExplainServicer) -> None:
    assert not explained(servicer, ["i2"], profile_pb.RUNG_SEGMENT_PRIOR, half="even").reasons
