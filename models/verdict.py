"""The promotion gate's record: whether a bundle was found not to be worse than the one it would replace."""

from pathlib import Path

import msgspec

from models.registry import Pointer, RegistryError

FOLDER = "verdicts"


class Unproven(RegistryError):
    """A version was not found to be as good as the active one; the message says how to go on."""


class Verdict(msgspec.Struct, frozen=True):
    """How a bundle did beside a rival on users that neither was trained on.

    Attributes:
        version: of the bundle that was judged.
        rival: version of the one that was active then.
        subject: what of the rival was compared: `kindling`, or the bundle's own `count_shrinkage` where
            the rival cannot serve the present catalogue.
        margin: the loss of NDCG@10 that counts as none.
        value, low, high: mean gain over users and its 95% interval, paired.
        users: how many were compared.
    """

    version: str
    rival: str
    subject: str
    margin: float
    value: float
    low: float
    high: float
    users: int

    @property
    def passed(self) -> bool:
        """Whether the bundle is not worse by more than the margin, with the interval's confidence."""
        return self.low > -self.margin

    def __str__(self) -> str:
        """The verdict in words, numbers included."""
        against = self.rival if self.subject == "kindling" else f"its own {self.subject.replace('_', '-')}"
        state = "not worse" if self.passed else "may be worse"
        return (
            f"{self.version} is {state} than {against}: NDCG@10 {self.value:+.4f} "
            f"[{self.low:+.4f}, {self.high:+.4f}] on {self.users} held-out users, margin {self.margin:g}"
        )

    def write(self, root: Path) -> None:
        """Keep it beside the bundles below `root`, in place of an earlier one of this version."""
        path = _path(root, self.version)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))
        partial.replace(path)


def read_verdict(root: Path, version: str) -> Verdict | None:
    """The verdict on a version, None if it was not judged.

    Raises:
        RegistryError: it is malformed.
    """
    path = _path(root, version)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Verdict)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise RegistryError(
            f"{path} is malformed ({error}): `kindling models compare {version}`"
        ) from error


def require_verdict(root: Path, version: str, pointer: Pointer) -> None:
    """Refuse a version that was not found to be as good as the active one.

    One that has been active, and any where none is, needs no verdict.

    Raises:
        Unproven: it was not compared with the active version, or may be worse.
        RegistryError: its verdict is malformed.
    """
    if pointer.active is None or version in pointer.history:
        return
    verdict = read_verdict(root, version)
    if verdict is None or verdict.rival != pointer.active:
        raise Unproven(
            f"{version} was not compared with {pointer.active}, which is active: "
            f"`kindling models compare {version}`, or activate it with --force"
        )
    if not verdict.passed:
        raise Unproven(f"{verdict}: train on more data, or activate it with --force")


def _path(root: Path, version: str) -> Path:
    return root / FOLDER / f"{version}.json"
