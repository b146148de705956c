"""Faults against an oracle: processes killed, frozen and cut off, servers crashed, producers gone wrong."""
