"""Starting light: what streams and serves does without torch, though it may be installed."""

import sys


def leave_out_torch() -> None:
    """Keep Feast from importing torch, which it does wherever that is installed, in this process.

    It costs 500 MB and half of the time to start; nothing that streams or serves makes use of it.
    """
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
