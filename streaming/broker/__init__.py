"""The broker: one port; an outside one, a real one started here, and one inside the process."""

import warnings

# Whoever streams finds a broker first. Kafka's client comes in here, since Python 3.11 calls the way it
# reads its schemas deprecated (3.13 no more), and Feast turns such warnings on for the whole process.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka  # noqa: F401
