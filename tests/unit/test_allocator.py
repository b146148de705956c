"""The allocator: what is freed is gone, whatever was freed before."""

import subprocess
import sys

# In a process of its own: the setting holds for all that comes after.
_HOLES = """
import sys
from streaming.allocator import give_back_large_buffers

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if sys.argv[1] == "given":
    give_back_large_buffers()
del (first := [bytearray(b"x") * (16 << 20)])[:]  # from now on glibc holds 16 MiB for small
before, kept = resident(), []
for _ in range(8):
    buffer = bytearray(b"x") * (12 << 20)
    kept.append([bytes(400) for _ in range(1000)])  # what is made meanwhile lies behind it
    del buffer
    kept.append(bytearray(b"x") * (13 << 20))
kept = [part for part in kept if isinstance(part, list)]
print((resident() - before) >> 20)
"""


def test_no_hole_stays_where_a_large_buffer_was() -> None:
    def held(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", _HOLES, how], check=True, capture_output=True, text=True, timeout=60
        )
        return int(done.stdout)

    assert held("given") < 12 < held("kept")
