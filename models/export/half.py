"""ONNX files in half precision, for devices that are faster so."""

import logging
from pathlib import Path

from models.samples import SampleError, Samples
from models.session import OnnxSession

logger = logging.getLogger(__name__)


def halve(rung: str, path: Path, target: Path, samples: Samples) -> bool:
    """Write the model in `path` to `target`, computing in 16 bits; inputs and outputs stay as they are.

    Where that is too coarse for the model, `target` is not written: it is offered in full precision alone.

    Args:
        rung: whose answers in `samples` it is compared with.

    Returns:
        Whether it was written.
    """
    partial = target.with_suffix(".partial")
    try:
        write_half(path, partial)
        samples.verify(rung, OnnxSession(partial), "fp16")
    except SampleError as error:
        logger.warning("%s is not offered in half precision: %s", rung, error)
    except Exception as error:  # noqa: BLE001 (what the converter and ONNX Runtime raise shares no base)
        logger.warning("%s cannot be had in half precision: %s", rung, error)
    else:
        partial.rename(target)
        return True
    partial.unlink(missing_ok=True)
    return False


def write_half(path: Path, target: Path) -> None:
    """Write the model in `path` to `target`, computing in 16 bits, whatever becomes of its answers."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(str(path)), keep_io_types=True), str(target))
