"""The allocator: large buffers go back to the system as soon as they are free."""

import ctypes
import logging

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
_LARGE = 1 << 20

logger = logging.getLogger(__name__)


def give_back_large_buffers() -> None:
    """Give every buffer of a mebibyte or more pages of its own, in this process from now on.

    glibc raises its own threshold to the largest buffer freed so far, up to 32 MiB. Answers of the broker
    would then lie between small objects, and leave holes as large as they were. Of another C library
    nothing is asked.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not mallopt(_MMAP_THRESHOLD, _LARGE):
        logger.debug("the C library's allocator stays as it is")
