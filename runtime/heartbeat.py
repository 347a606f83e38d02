"""A file whose age tells whether a process still gets round: for those that have no port to be asked on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from runtime.errors import StartError


def heart(path: Path | None) -> Callable[[], None]:
    """What to call after each round. The file is not there until the first one; without a path, nothing is written.

    Raises StartError when the file cannot be written.
    """
    if path is None:
        return lambda: None
    try:
        path.touch()
        path.unlink()  # what a process before us has left says nothing about us
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StartError(
            f"{path} cannot be written ({reason}). Set PARLEY_HEARTBEAT to a file in a folder that we may write to."
        ) from error
    return path.touch
