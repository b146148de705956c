"""Events → observed features: decode, fold, sink, commit."""

import warnings

# Imported here, first of all, because Python 3.11 calls the way it reads its schemas deprecated (3.13 no
# more), and Feast turns such warnings on for the whole process.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka  # noqa: F401
