"""Why a profile was filled as it was, in fields and in words."""

from collections.abc import Collection
from typing import Protocol, cast

from feature_repo.catalogue import Items
from kindling.v1 import augment_pb2 as profile_pb
from kindling.v1 import explain_pb2 as pb
from models.schema import BLOCKS, SparseProfile
from service.api.answer import ORIGINS, RUNGS, milliseconds
from service.api.explain import Evidence, Explainer, Explanation, Movement
from service.api.reasons import Reason, Reasoner
from service.api.request import BLOCK_NAMES, allowed_rungs, check_user_id, inline_profile, wanted_blocks
from service.api.rpc import Service, unary
from service.call import Call
from service.fill.ladder import OBSERVED
from service.known import Reads
from service.metrics import Metrics
from service.versions.prepare import ServingModel

NAME = pb.DESCRIPTOR.services_by_name["ExplainService"].full_name
DEFAULT_TOP = 5

_CODES = {
    "attribute": pb.REASON_CODE_ATTRIBUTE,
    "event": pb.REASON_CODE_EVENT,
    "similar_item": pb.REASON_CODE_SIMILAR_ITEM,
    "knowledge_edge": pb.REASON_CODE_KNOWLEDGE_EDGE,
}
_BLOCKS = {name: block for block, name in BLOCK_NAMES.items()}


class Serving(Protocol):
    """The model that serves now."""

    @property
    def current(self) -> ServingModel:
        """It."""
        ...


class ExplainServicer:
    """`kindling.v1.ExplainService`.

    Args:
        explainer: takes evidence away and looks what changes.
        models: the model that serves now.
        profiles: what was observed of users.
        items: the catalogue's items.
    """

    def __init__(
        self, explainer: Explainer, models: Serving, profiles: Reads, items: Items, metrics: Metrics
    ) -> None:
        self._explainer, self._models, self._profiles = explainer, models, profiles
        self._items, self._metrics = items, metrics
        self._reasoner = Reasoner(items)

    def service(self) -> Service:
        """For the server to add."""
        encode = pb.ExplainResponse.SerializeToString
        return Service(
            NAME, {"Explain": unary("Explain", self.explain, pb.ExplainRequest, encode, self._metrics)}
        )

    def explain(self, request: pb.ExplainRequest, call: Call) -> pb.ExplainResponse:
        """Which evidence moved which filled value, which rung answered, why others did not."""
        call.priority = "bulk"
        bundle = self._models.current.bundle
        allowed, wanted = allowed_rungs(request.allowed_rungs), wanted_blocks(request.blocks)
        user_id, degraded = "", False
        if request.WhichOneof("subject") == "profile":
            profile = inline_profile(request.profile, bundle.schema.catalogue, self._items)
        else:
            user_id = check_user_id(request.user_id, "user_id")
            reading = self._profiles.read([user_id], call)
            (profile,), degraded = reading.profiles, reading.degraded
        explanation = self._explainer.explain(profile, bundle.cold_below, allowed, call)
        reply = self._reply(profile, explanation, wanted, request.top or DEFAULT_TOP)
        reply.reasons.extend(map(_reason, self._reasoner.reasons(bundle, profile, explanation)))
        reply.user_id, reply.degraded = user_id, degraded or explanation.answer.degraded
        return reply

    def _reply(
        self, profile: SparseProfile, explanation: Explanation, wanted: Collection[str], top: int
    ) -> pb.ExplainResponse:
        answer, decision = explanation.answer, explanation.answer.decisions[0]
        reply = pb.ExplainResponse(
            rung=RUNGS[decision.rung],
            model_version=answer.model_version,
            generated_at_ms=milliseconds(answer),
            observed_count=int(answer.counts[0]),
            summary=self._summary(profile, explanation),
        )
        for line in decision.passed_over:
            rung, _, reason = line.partition(": ")
            reply.passed_over.add(rung=RUNGS[rung], reason=reason)
        for position, block in enumerate(BLOCKS):
            if block not in wanted:
                continue
            explained = reply.blocks.add(
                block=_BLOCKS[block],
                origin=ORIGINS[decision.rung],
                confidence=answer.confidence[0, position],
                observed_weight=_observed_weight(explanation, position),
            )
            for movement in explanation.movements[block][:top]:
                explained.contributions.append(self._contribution(profile, block, movement, decision.rung))
        return reply

    def _contribution(
        self, profile: SparseProfile, block: str, movement: Movement, rung: str
    ) -> pb.Contribution:
        evidence = movement.evidence
        contribution = pb.Contribution(
            moved=movement.moved,
            share=movement.share,
            target=movement.target,
            without=movement.absent,
            rung_without=RUNGS[movement.rung_absent]
            if movement.rung_absent != rung
            else profile_pb.RUNG_UNSPECIFIED,
            text=self._in_words(profile, block, movement),
        )
        # `with` is a word of Python's.
        setattr(contribution, "with", movement.present)
        if evidence.attribute:
            value = str(profile.attributes[evidence.attribute])
            contribution.attribute.CopyFrom(profile_pb.Attribute(name=evidence.attribute, value=value))
        else:
            item = profile.items[evidence.position]
            contribution.event.item_id, contribution.event.title = item, self._title(item)
            contribution.event.position = evidence.position
            contribution.event.weight = profile.weights[evidence.position]
        return contribution

    def _in_words(self, profile: SparseProfile, block: str, movement: Movement) -> str:
        subject = self._subject(profile, movement.evidence)
        if block == "embedding":
            return f"{subject} moved the embedding by {movement.moved:.3f}"
        target = self._title(movement.target) if block == "virtual_items" else movement.target
        if movement.absent == 0:
            return f"{subject} brought {target} in, at {movement.present:.3f}"
        if movement.present == 0:
            return f"{subject} kept {target} out, which had {movement.absent:.3f}"
        verb = "raised" if movement.present > movement.absent else "lowered"
        return f"{subject} {verb} {target} from {movement.absent:.3f} to {movement.present:.3f}"

    def _subject(self, profile: SparseProfile, evidence: Evidence) -> str:
        if evidence.attribute:
            return f"{evidence.attribute} = {profile.attributes[evidence.attribute]}"
        return f"the event on {self._title(profile.items[evidence.position])}"

    def _title(self, item_id: str) -> str:
        index = self._items.index.get(item_id)
        return (self._items.titles[index] if index is not None else "") or item_id

    def _summary(self, profile: SparseProfile, explanation: Explanation) -> str:
        rung = explanation.answer.decisions[0].rung
        declared = sum(value not in (None, "") for value in profile.attributes.values())
        known = f"{profile.event_count} events and {declared} attributes"
        if rung == OBSERVED:
            return f"Nothing was filled in: {known} are enough."
        lines = [f"The {rung.replace('_', ' ')} answered, from {known}."]
        for block, movements in explanation.movements.items():
            if movements:
                subject = self._subject(profile, movements[0].evidence)
                lines.append(f"What moved {block.replace('_', ' ')} most is {subject}.")
        return " ".join(lines)


def _reason(reason: Reason) -> pb.Reason:
    return pb.Reason(
        code=_CODES[reason.code],
        weight=reason.weight,
        subject=reason.subject,
        target=reason.target,
        relation=reason.relation,
        text=reason.text,
    )


def _observed_weight(explanation: Explanation, position: int) -> float:
    """The part of a block that is the user's own; virtual items sum to the rest."""
    answer = explanation.answer
    if position < answer.observed_weight.shape[1]:
        return cast(float, answer.observed_weight[0, position].item())
    return 1.0 - cast(float, answer.virtual_weights[0].sum().item())
