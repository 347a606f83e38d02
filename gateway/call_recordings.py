"""The recordings of calls, as the app's backend gets them: they lie where the transcoders keep them.

  <recordings>/calls/<sid>/about.json, events.jsonl, audio.opus or audio.wav

What is here only reads and deletes, in threads: the disk may be a network's.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Literal

import msgspec

CALLS = "calls"


class About(msgspec.Struct, omit_defaults=True):
    """What is known of one."""

    id: str
    user: str
    door: str
    status: Literal["recording", "ready", "empty"]
    begins_ms: int = 0
    seconds: float = 0.0
    format: Literal["opus", "wav"] | None = None
    ended_ms: int = 0


class CallRecordings:
    def __init__(self, folder: Path) -> None:
        self._folder = folder / CALLS

    async def about(self, sid: str) -> About | None:
        """None: there is none. Raises OSError."""
        return await asyncio.to_thread(_about, self._folder / sid)

    def audio(self, about: About) -> Path:
        return self._folder / about.id / f"audio.{about.format}"

    def log(self, about: About) -> Path:
        return self._folder / about.id / "events.jsonl"

    async def forget(self, sid: str) -> bool:
        """Whether there was one. Raises OSError."""
        return await asyncio.to_thread(_forget, self._folder / sid)

    async def forget_user(self, user: str) -> int:
        """How many there were. Looks at all that are kept. Raises OSError."""
        return await asyncio.to_thread(_forget_user, self._folder, user)


def _about(folder: Path) -> About | None:
    try:
        return msgspec.json.decode((folder / "about.json").read_bytes(), type=About)
    except FileNotFoundError:
        return None


def _forget(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    shutil.rmtree(folder)
    return True


def _forget_user(folder: Path, user: str) -> int:
    if not folder.is_dir():
        return 0
    return sum(_forget(each) for each in folder.iterdir() if (about := _about(each)) is not None and about.user == user)
