"""What a bundle holds of a student beside its file: the same in 8 and in 16 bits, each past its gate."""

from pathlib import Path

from models.bundle import half_of, integers_of
from models.export.half import write_half
from models.session import OnnxSession
from models.students.gates import Agreement, calibration_inputs, compare_sessions
from models.students.quantise import quantise
from models.training.ground import Ground

CALIBRATION_COUNTS = (0, 1, 2, 3, 5, 8)


def compress(path: Path, ground: Ground) -> dict[str, Agreement]:
    """Write the student in `path` once more in 8-bit integers and in half precision, beside it.

    Returns:
        How each agrees with the original, by precision.

    Raises:
        GateError: one ranks otherwise than the original.
        QuantisationError: it is no student.
    """
    quantise(path, integers_of(path), calibration_inputs(ground, CALIBRATION_COUNTS))
    write_half(path, half_of(path))
    original, found = OnnxSession(path), {}
    for precision, file in (("int8", integers_of(path)), ("fp16", half_of(path))):
        found[precision] = compare_sessions(OnnxSession(file), original, ground)
        found[precision].require(f"{file.name}")
    return found
