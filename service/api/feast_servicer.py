"""Feast's own serving API: what plain Feast answers, and cold users filled in besides.

Feast itself reads, joins, computes on-demand views and shapes the response, so everything but the fill is
what its own server would send. A recommender changes an address and nothing else.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import feast
from feast import FeatureService, FeatureStore
from feast.errors import (
    FeastError,
    FeastObjectNotFoundException,
    FeatureServiceNotFoundException,
    RequestDataNotFoundInEntityRowsException,
)
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.protos.feast.serving import ServingService_pb2 as pb
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
from google.protobuf.timestamp_pb2 import Timestamp

from service.api.feast_contract import Contract, Filled, filled_columns
from service.api.request import MAX_ROWS
from service.api.rpc import Service, unary
from service.api.stored import StoredFill, StoredFills
from service.augment import Augmenter
from service.call import Call, Options
from service.errors import InvalidField, NotFound, StoreDown
from service.metrics import Metrics
from service.read.profiles import Profiles
from service.read.rows import Lock, StoreUnavailable
from service.versions.swap import ActiveModel
from service.write_back.row import AugmentedRow, augmented_rows

logger = logging.getLogger(__name__)

SERVING = "feast.serving.ServingService"
LISTENING = "GrpcFeatureServer"
"""What `feast listen` calls the same method."""

# What Feast says of a request. Stores raise errors of their own, beyond listing.
_CALLERS_FAULT = (FeastError, ValueError, KeyError, TypeError)


class _Fill(NamedTuple):
    """Values of `user_augmented` by feature, and when they were computed."""

    at: Timestamp
    values: Mapping[str, Value]


class FeastServicer:
    """`feast.serving.ServingService`, and the reading half of `GrpcFeatureServer`.

    Args:
        store: an applied feature store.
        contract: its feature services.
        augmenter: fills cold users in, and writes back.
        models: the model that serves now.
        profiles: what was observed of users.
        fills: what was last filled in for them.
        lock: shared with whoever writes through Feast, whose SQLite store has one connection for all.
    """

    def __init__(
        self,
        store: FeatureStore,
        contract: Contract,
        augmenter: Augmenter,
        models: ActiveModel,
        profiles: Profiles,
        fills: StoredFills,
        metrics: Metrics,
        lock: Lock,
    ) -> None:
        self._store, self._contract, self._augmenter = store, contract, augmenter
        self._models, self._profiles, self._fills, self._metrics = models, profiles, fills, metrics
        alone = isinstance(store.provider.online_store, SqliteOnlineStore)
        self._lock = lock if alone else nullcontext()

    def services(self) -> list[Service]:
        """For the server to add."""
        read = unary(
            "GetOnlineFeatures",
            self.get_online_features,
            pb.GetOnlineFeaturesRequest,
            pb.GetOnlineFeaturesResponse.SerializeToString,
            self._metrics,
        )
        tell = unary(
            "GetFeastServingInfo",
            self.get_serving_info,
            pb.GetFeastServingInfoRequest,
            pb.GetFeastServingInfoResponse.SerializeToString,
            self._metrics,
        )
        return [
            Service(SERVING, {"GetOnlineFeatures": read, "GetFeastServingInfo": tell}),
            Service(LISTENING, {"GetOnlineFeatures": read}),
        ]

    def get_serving_info(
        self, request: pb.GetFeastServingInfoRequest, call: Call
    ) -> pb.GetFeastServingInfoResponse:
        """The version of Feast that answers."""
        return pb.GetFeastServingInfoResponse(version=feast.__version__)

    def get_online_features(
        self, request: pb.GetOnlineFeaturesRequest, call: Call
    ) -> pb.GetOnlineFeaturesResponse:
        """Features as plain Feast has them, those of `user_augmented` filled in for cold users."""
        features = self._features(request)
        response = self._read(features, request)
        filled = filled_columns(features, request.full_feature_names)
        if filled is not None:
            self._fill(response, filled, call)
        return response

    def _features(self, request: pb.GetOnlineFeaturesRequest) -> FeatureService | list[str]:
        kind = request.WhichOneof("kind")
        if kind == "feature_service":
            try:
                return self._contract.service(request.feature_service)
            except FeatureServiceNotFoundException as error:
                raise NotFound("feature_service", str(error)) from error
        if not request.features.val:
            raise InvalidField("features", "is empty: send references, view:feature, or a feature_service")
        return list(request.features.val)

    def _read(
        self, features: FeatureService | list[str], request: pb.GetOnlineFeaturesRequest
    ) -> pb.GetOnlineFeaturesResponse:
        entities = _columns({**request.entities, **request.request_context})
        try:
            with self._lock:
                response: pb.GetOnlineFeaturesResponse = self._store.get_online_features(
                    features,
                    entities,
                    request.full_feature_names,
                    include_feature_view_version_metadata=request.include_feature_view_version_metadata,
                ).proto
        except RequestDataNotFoundInEntityRowsException as error:
            raise InvalidField("entities", str(error)) from error
        except FeastObjectNotFoundException as error:
            raise NotFound("features", str(error)) from error
        except _CALLERS_FAULT as error:
            field = "entities" if "join key" in str(error) or "rows" in str(error) else "features"
            raise InvalidField(field, str(error)) from error
        except Exception as error:
            logger.warning("the online store did not answer", exc_info=error)
            raise StoreDown(f"the online store did not answer: {error}") from error
        return response

    def _fill(self, response: pb.GetOnlineFeaturesResponse, filled: Filled, call: Call) -> None:
        """Put fills into the columns of `user_augmented`, for cold users whose own is missing or stale."""
        position = {name: index for index, name in enumerate(response.metadata.feature_names.val)}
        if filled.join_key not in position:
            return
        users = [value.string_val for value in response.results[position[filled.join_key]].values]
        fresh = self._filled_anew(list(dict.fromkeys(filter(None, users))), call)
        for column, feature in filled.columns.items():
            vector = response.results[position[column]]
            for row, user in enumerate(users):
                if user in fresh:
                    vector.values[row].CopyFrom(fresh[user].values[feature])
                    vector.statuses[row] = pb.PRESENT
                    vector.event_timestamps[row].CopyFrom(fresh[user].at)

    def _filled_anew(self, users: Sequence[str], call: Call) -> dict[str, _Fill]:
        """Fills by user, for those who need one."""
        if not users:
            return {}
        try:
            stored = dict(zip(users, self._fills.read(users, call), strict=True))
        except StoreUnavailable as error:
            raise StoreDown(str(error)) from error
        stale = self._stale(stored, call)
        if not stale:
            return {}
        answer = self._augmenter.users(stale, Options(), call)
        return {
            row.user_id: _fill_of(row)
            for row in augmented_rows(stale, answer)
            # What a model filled in before is better than what a prior says in need.
            if not answer.degraded or stored[row.user_id] is None
        }

    def _stale(self, stored: Mapping[str, StoredFill | None], call: Call) -> list[str]:
        """Cold users whose stored fill is missing, by another model, or from before they did more."""
        reading = self._profiles.read(list(stored), call)
        serving = self._models.current.bundle
        stale = []
        for (user, fill), profile in zip(stored.items(), reading.profiles, strict=True):
            if profile.event_count >= serving.cold_below:
                continue
            if fill is None or (
                not reading.degraded
                and (
                    fill.is_stale(profile)
                    or fill.model_version not in (serving.version, self._models.choose(user).bundle.version)
                )
            ):
                stale.append(user)
        return stale


def _columns(given: Mapping[str, RepeatedValue]) -> dict[str, list[Any]]:
    """Join keys and context as Python values: of context that comes in messages Feast knows no type."""
    if not given:
        raise InvalidField("entities", "is empty: send a list of values by join key")
    lengths = {name: len(column.val) for name, column in given.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidField("entities", f"differ in length: {lengths}; send one value a row in each")
    rows = max(lengths.values())
    if not 1 <= rows <= MAX_ROWS:
        raise InvalidField("entities", f"has {rows} rows: send 1 to {MAX_ROWS}")
    return {name: [_native(value) for value in column.val] for name, column in given.items()}


def _native(value: Value) -> Any:
    kind = value.WhichOneof("val")
    if kind is None or kind == "null_val":
        return None
    native = getattr(value, kind)
    return list(native.val) if hasattr(native, "val") else native


def _fill_of(row: AugmentedRow) -> _Fill:
    at = Timestamp()
    at.FromDatetime(row.generated_at)
    return _Fill(at, row.values())
