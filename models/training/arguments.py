"""What a training can be told."""

from dataclasses import dataclass, field

from models.students.student import SizeName
from models.training.generators import MEMBERS
from models.training.options import Options
from models.training.recommender import RANKERS

COLD_BELOW = 10


@dataclass(frozen=True)
class Arguments:
    """What a training can be told.

    Attributes:
        seed: of every draw; equal seeds on one machine give equal models.
        rankers: two-towers whose mean is the ranker.
        members: encoders whose mean is one of those that the generator fuses.
        cold_below: users with fewer events are filled.
        lessons: folders of teachers' lessons; without any, the bundle has no student.
        student: its size.
        pruned: share of its inner units that are taken out.
        options: of learned generators.
        encoder: folder of a sentence encoder that places items by what their texts mean, beside the graph
            and the words that place them without one.
        start: version of the bundle whose weights learned models start from, on users who did something
            at or after `since_ms`; None trains all from scratch.
    """

    seed: int = 0
    rankers: int = RANKERS
    members: int = MEMBERS
    cold_below: int = COLD_BELOW
    lessons: tuple[str, ...] = ()
    student: SizeName = "tiny"
    pruned: float = 0.0
    options: Options = field(default_factory=Options)
    encoder: str | None = None
    start: str | None = None
    since_ms: int = 0
