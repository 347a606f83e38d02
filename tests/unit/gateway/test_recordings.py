"""One file: how it grows, how it gets its name, and what becomes of it on a full disk."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import DiskFull, NotWritable, RecordingTooLarge
from gateway.recordings import Recording, Recordings, Saved

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAME = "websocket_recording_20260102_030405_0a1b2c3d.webm"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_grows_under_another_name_than_it_keeps(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "0a1b2c3d", NOW)
    assert names(tmp_path) == []
    recording.write(b"one")
    recording.write(b"two")
    assert (tmp_path / f"{NAME}.part").read_bytes() == b"onetwo"
    assert recording.save() == Saved(f"uploads/{NAME}", 6, 2)
    assert (tmp_path / NAME).read_bytes() == b"onetwo"
    assert names(tmp_path) == [NAME]


def test_it_is_not_for_everybody_to_read(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "new", "0a1b2c3d", NOW)
    recording.write(b"a voice")
    recording.save()
    assert (tmp_path / "new").stat().st_mode & 0o007 == 0
    assert (tmp_path / "new" / NAME).stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("taken", [NAME, f"{NAME}.part"])
def test_a_name_that_is_taken_is_passed_over(tmp_path: Path, taken: str) -> None:
    """Whether the other one is whole or still grows."""
    (tmp_path / taken).write_bytes(b"theirs")
    recording = Recording(tmp_path, "0a1b2c3d", NOW)
    recording.write(b"ours")
    saved = recording.save()
    assert saved is not None
    assert saved.file.startswith("uploads/websocket_recording_20260102_030405_")
    assert names(tmp_path) == sorted([taken, Path(saved.file).name])
    assert (tmp_path / taken).read_bytes() == b"theirs"


def test_nothing_leaves_nothing(tmp_path: Path) -> None:
    assert Recording(tmp_path, "0a1b2c3d", NOW).save() is None
    assert names(tmp_path) == []


def test_a_chunk_that_a_full_disk_refuses_leaves_the_count_as_it_was(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "0a1b2c3d", NOW)
    recording.write(b"before")
    assert recording._fd is not None
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, recording._fd)
    os.close(full)
    with pytest.raises(OSError, match="No space left on device"):
        recording.write(b"too much")
    assert (recording.size, recording.chunks) == (6, 1)


class Refusing(Recording):
    """The operating system's error, by number."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(folder, "0a1b2c3d", NOW)
        self._number = number

    def write(self, chunk: bytes) -> None:
        raise OSError(self._number, os.strerror(self._number), "/a/path")


async def test_errors_are_named(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path, 10)
    for number in (errno.ENOSPC, errno.EDQUOT):
        with pytest.raises(DiskFull):
            await recordings.write(Refusing(tmp_path, number), b"chunk")
    with pytest.raises(NotWritable, match=r"\(Read-only file system\)"):
        await recordings.write(Refusing(tmp_path, errno.EROFS), b"chunk")
    with pytest.raises(RecordingTooLarge, match="10 bytes"):
        await recordings.write(recordings.begin("0a1b2c3d", NOW), bytes(11))
    recordings.close()


class Slow(Recording):
    """A disk that takes its time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "0a1b2c3d", NOW)
        self.writing, self.go_on = threading.Event(), threading.Event()

    def write(self, chunk: bytes) -> None:
        self.writing.set()
        assert self.go_on.wait(10)
        super().write(chunk)


async def test_a_slow_disk_does_not_hold_the_loop_and_a_cancelled_write_is_whole(tmp_path: Path) -> None:
    recordings, slow = Recordings(tmp_path, 10), Slow(tmp_path)
    writing = asyncio.create_task(recordings.write(slow, b"chunk"))
    while not slow.writing.is_set():  # noqa: ASYNC110 - a thread: no event of the loop
        await asyncio.sleep(0.001)
    writing.cancel()
    await asyncio.sleep(0)
    assert not writing.done()
    slow.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await recordings.save(slow) == Saved(f"uploads/{NAME}", 5, 1)
    recordings.close()


@given(chunks=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=10))
def test_the_bytes_stay_as_they_came(tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("uploads")
    recording = Recording(folder, "0a1b2c3d", NOW)
    for chunk in chunks:
        recording.write(chunk)
    whole = b"".join(chunks)
    assert recording.save() == Saved(f"uploads/{NAME}", len(whole), len(chunks))
    assert (folder / NAME).read_bytes() == whole
