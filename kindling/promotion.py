"""Comparing a bundle with the active one on the workspace's data, and keeping the verdict."""

import logging
from typing import TYPE_CHECKING

from feature_repo.catalogue import load_catalogue, load_items
from feature_repo.workspace import Workspace
from models.bundle import Bundle, BundleError
from models.registry import Registry

if TYPE_CHECKING:
    from models.evaluation.bootstrap import Interval
    from models.verdict import Verdict

logger = logging.getLogger(__name__)


def compare_with_active(
    workspace: Workspace, registry: Registry, bundle: Bundle, margin: float | None = None
) -> "tuple[Verdict, dict[int, Interval]] | None":
    """The verdict, which is kept, and the gains by k; None where no other bundle is active.

    An active bundle that cannot be loaded any more is not asked, see `judge`.

    Raises:
        ValueError: no held-out user has enough events.
    """
    from models.evaluation.promotion import MARGIN, judge
    from models.training.histories import load_histories
    from models.training.logged import read_logged

    version = registry.active_version()
    if version is None or version == bundle.version:
        return None
    try:
        active = registry.load(version)
    except BundleError as error:
        logger.warning("%s; it is not asked", error)
        active = None
    catalogue = load_catalogue(workspace.data)
    items = load_items(workspace.data, catalogue)
    histories = load_histories(workspace.data, catalogue, items, read_logged(workspace))
    verdict, gains = judge(bundle, version, active, histories, items, MARGIN if margin is None else margin)
    verdict.write(registry.root)
    return verdict, gains
