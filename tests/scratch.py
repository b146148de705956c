"""Folders for what is made once a test run."""

import atexit
import shutil
from pathlib import Path
from tempfile import mkdtemp


def scratch(name: str) -> Path:
    """A new folder that is gone when this process ends."""
    folder = Path(mkdtemp(prefix=f"kindling-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
