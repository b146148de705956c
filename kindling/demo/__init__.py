"""The demo: the whole path on real processes, from a bare folder to a report of what it was worth."""
