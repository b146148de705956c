"""Starting light: what streams and serves does without torch and type checks, though both may be there."""

import sys


def leave_out_torch() -> None:
    """Keep Feast from importing torch, which it does wherever that is installed, in this process.

    It costs 500 MB and half of the time to start; nothing that streams or serves makes use of it.
    """
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]


def leave_out_type_checks() -> None:
    """Keep Feast from rewriting its own classes to check every argument, in this process.

    Parsing and recompiling them at import takes longer than everything else Feast imports. Call this
    before the first import of Feast; what its objects do stays the same.
    """
    try:
        import typeguard
    except ImportError:
        return
    typeguard.typechecked = lambda target=None, **_: target or (lambda later: later)  # type: ignore[assignment]
