"""Where each view's rows come from: part files offline, pushed rows online.

A folder of Parquet part files a view. A writer adds files; only merging and erasure put others in the
place of some, whole.
"""

from pathlib import Path

from feast import FileSource, PushSource, RepoConfig

from feature_repo.workspace import Workspace

EVENT_TIME = "event_timestamp"
CREATED_TIME = "created_timestamp"
OWNER = "kindling"


class PartFiles(FileSource):
    """A file source over a folder: Feast's own check takes the pattern for a file name and warns."""

    def validate(self, config: RepoConfig) -> None:
        """Create the folder that part files will appear in."""
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)


def part_files(view: str, description: str) -> FileSource:
    """The offline rows of `view`."""
    return PartFiles(
        name=f"{view}_parts",
        path=str(Workspace.current().offline / view / "*.parquet"),
        timestamp_field=EVENT_TIME,
        created_timestamp_column=CREATED_TIME,
        description=description,
        owner=OWNER,
    )


def pushed(view: str, description: str) -> PushSource:
    """Rows written online as they arise, with the same rows in part files."""
    return PushSource(
        name=f"{view}_push",
        batch_source=part_files(view, description),
        description=description,
        owner=OWNER,
    )


attributes_source = pushed("user_attributes", "Attributes as users declared them, from sign-up events.")
activity_source = pushed("user_activity", "A user's folded activity after each of their events.")
augmented_source = pushed("user_augmented", "Profiles as models filled them in.")
content_source = part_files("item_content", "Items as the catalogue describes them.")
popularity_source = part_files("item_activity", "How much each item is used, from the event log.")
