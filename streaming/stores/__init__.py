"""Guarded online stores: Feast's own, with a write that only succeeds on the row that was read."""
