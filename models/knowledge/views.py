"""Views of items fused into one space: what users did, what texts say, what the graph connects."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from models.schema import Floats

Mask = npt.NDArray[np.bool_]


class ViewError(ValueError):
    """Views do not fit together; the message names the view."""


def fuse_views(views: Mapping[str, Floats], masks: Mapping[str, Mask] | None = None) -> Floats:
    """[I, sum of widths] the views side by side, each at unit root mean square over the items it knows.

    A view that does not know an item says nothing of it: zeros, and the views that do are scaled up, so
    that every known item has the same expected length. Nothing is learned, so a new item needs no training.

    Args:
        views: name → [I, any].
        masks: name → [I] whether the view knows the item; without one, all whose row is not zero.

    Raises:
        ViewError: there is none, or they are not of the same items.
    """
    if not views:
        raise ViewError("no view to fuse: give at least one")
    size = len(next(iter(views.values())))
    given = dict(masks or {})
    scaled, known = [], []
    for name, view in views.items():
        mask = given.pop(name, np.abs(view).sum(axis=1) > 0)
        if len(view) != size or len(mask) != size:
            raise ViewError(f"view {name!r} has {len(view)} rows and a mask of {len(mask)}, not {size}")
        root = np.sqrt((view[mask] ** 2).mean()) if mask.any() else 0.0
        scaled.append(np.where(mask[:, None], view / max(root, 1e-12), 0))
        known.append(mask)
    if given:
        raise ViewError(f"masks of no view: {', '.join(sorted(given))}")
    present = np.stack(known).sum(axis=0)  # [I]
    share = np.sqrt(len(views) / np.maximum(present, 1))[:, None]
    return np.asarray(np.concatenate(scaled, axis=1) * share, np.float32)
