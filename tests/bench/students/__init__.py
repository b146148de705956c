"""Students against the clock: on one core in 8 bits, on a GPU in 16, and beside their teachers."""
