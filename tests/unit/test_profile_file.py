"""Profiles in a file: what a fold goes on from."""

from pathlib import Path

import msgspec
import pytest

from streaming.errors import RewoundError, SinkError
from streaming.profile import UNKNOWN
from streaming.profile_file import ProfileFile
from streaming.sink import Change
from streaming.stores.port import Move
from tests.shop import CATALOGUE
from tests.streams import oracle, stream

PROFILES = oracle(stream(seed=61, users=5, events=40))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with five users, at offset 40 of source 7."""
    path = tmp_path / "profiles.db"
    with ProfileFile(path, CATALOGUE) as profiles:
        assert profiles.read(PROFILES) == dict.fromkeys(PROFILES, UNKNOWN)
        assert not profiles.write({user: Change(UNKNOWN, after) for user, after in PROFILES.items()})
        profiles.move({7: Move(-1, 40)})
    return path


def test_another_process_goes_on_where_the_first_was(path: Path) -> None:
    with ProfileFile(path, CATALOGUE) as again:
        assert again.read([*PROFILES, "nobody"]) == PROFILES | {"nobody": UNKNOWN}
        assert again.positions([7, 8]) == {7: 40}


def test_positions_advance_and_never_go_back(path: Path) -> None:
    with ProfileFile(path, CATALOGUE) as profiles:
        profiles.move({7: Move(40, 39), 8: Move(-1, 5)})
        assert profiles.positions([7, 8]) == {7: 40, 8: 5}
        with pytest.raises(RewoundError) as rewound:
            profiles.move({7: Move(41, 50), 8: Move(5, 6)})
        assert rewound.value.positions == {7: 40}
        assert profiles.positions([7, 8]) == {7: 40, 8: 6}


def test_another_catalogue_begins_at_nothing(path: Path) -> None:
    with ProfileFile(path, msgspec.structs.replace(CATALOGUE, recent_length=6)) as other:
        assert other.read(PROFILES) == dict.fromkeys(PROFILES, UNKNOWN)
        assert other.positions([7]) == {}


def test_who_is_forgotten_is_not_in_the_file(path: Path) -> None:
    with ProfileFile(path, CATALOGUE) as profiles:
        assert b"user-3" in path.read_bytes()
        assert profiles.forget("user-3")
        assert not profiles.forget("user-3")
        assert profiles.read(["user-3"]) == {"user-3": UNKNOWN}
    assert b"user-3" not in path.read_bytes()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_bytes(b"not a database" * 100)
    with pytest.raises(SinkError, match=r"junk.db.*remove it"):
        ProfileFile(tmp_path / "junk.db", CATALOGUE)
