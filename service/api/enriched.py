"""What was observed of users beside what was last filled in for them: read, never computed."""

from collections.abc import Collection, Sequence

from feature_repo.catalogue import Catalogue
from kindling.v1 import augment_pb2 as pb
from models.schema import BLOCKS, SparseProfile, affinity_shares
from service.api.answer import RUNGS
from service.api.stored import StoredFill, StoredFills
from service.call import Call
from service.errors import StoreDown
from service.read.profiles import Profiles
from service.read.rows import StoreUnavailable

_ORIGINS = {name.removeprefix("ORIGIN_").lower(): number for name, number in pb.Origin.items()}


class EnrichedFeatures:
    """Reads both sides of a profile.

    Args:
        profiles: what was observed.
        fills: what was last filled in.
    """

    def __init__(self, profiles: Profiles, fills: StoredFills, catalogue: Catalogue) -> None:
        self._profiles, self._fills, self._categories = profiles, fills, len(catalogue.categories)

    def read(
        self, user_ids: Sequence[str], wanted: Collection[str], call: Call
    ) -> list[pb.EnrichedFeatures]:
        """One for each id, in order, with the filled blocks that are wanted.

        Raises:
            StoreDown: the store did not answer, and there is nothing to make up.
        """
        reading = self._profiles.read(user_ids, call)
        if reading.degraded:
            raise StoreDown("the online store did not answer in time: Augment would, from priors")
        try:
            fills = self._fills.read(user_ids, call)
        except StoreUnavailable as error:
            raise StoreDown(str(error)) from error
        return [self._both(*both, wanted) for both in zip(user_ids, reading.profiles, fills, strict=True)]

    def _both(
        self, user_id: str, profile: SparseProfile, fill: StoredFill | None, wanted: Collection[str]
    ) -> pb.EnrichedFeatures:
        message = pb.EnrichedFeatures(user_id=user_id, observed=self._observed(profile))
        if fill is None:
            return message
        message.rung, message.stale = RUNGS[fill.rung], fill.is_stale(profile)
        blocks = {"affinity": message.affinity, "embedding": message.embedding}
        origins = fill.value("block_origins").string_list_val.val
        confidences = fill.value("block_confidences").float_list_val.val
        for name, origin, confidence in zip(BLOCKS, origins, confidences, strict=True):
            if name not in wanted:
                continue
            block = blocks.get(name, message.virtual_items)
            block.origin, block.confidence = _ORIGINS[origin], confidence
            block.model_version, block.observed_count = fill.model_version, fill.observed_count
            block.generated_at_ms = fill.value("generated_at_ms").int64_val
        if "affinity" in wanted:
            message.affinity.values.extend(fill.value("filled_affinity").float_list_val.val)
        if "embedding" in wanted:
            message.embedding.values.extend(fill.value("user_embedding").float_list_val.val)
        if "virtual_items" in wanted:
            message.virtual_items.item_ids.extend(fill.value("virtual_items").string_list_val.val)
            message.virtual_items.weights.extend(fill.value("virtual_weights").float_list_val.val)
        return message

    def _observed(self, profile: SparseProfile) -> pb.ObservedFeatures:
        return pb.ObservedFeatures(
            attributes=[
                pb.Attribute(name=name, value=str(value))
                for name, value in profile.attributes.items()
                if value not in (None, "")
            ],
            event_count=profile.event_count,
            affinity=affinity_shares(profile.affinity, self._categories).tolist()
            if profile.event_count
            else (),
            recent_items=profile.items,
            recent_weights=profile.weights,
        )
