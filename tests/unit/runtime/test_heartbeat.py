"""A file whose age tells whether a process still gets round."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import StartError
from runtime.heartbeat import heart


def test_the_first_beat_makes_the_file(tmp_path: Path) -> None:
    """Not the start: by then nothing has been done yet; nor does what another process has left count."""
    path = tmp_path / "heartbeat"
    path.touch()
    beat = heart(path)
    assert not path.exists()
    beat()
    assert path.exists()


def test_without_a_file_a_beat_is_nothing() -> None:
    """As on a machine where nobody asks."""
    assert heart(None)() is None


def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    """Rather than the work, a second later."""
    with pytest.raises(StartError, match=r"cannot be written \(No such file or directory\)\. Set PARLEY_HEARTBEAT to"):
        heart(tmp_path / "missing" / "heartbeat")
