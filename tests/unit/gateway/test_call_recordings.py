"""Recordings of calls, where the gateway finds them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.call_recordings import CALLS, About, CallRecordings


def keep(folder: Path, sid: str, user: str) -> None:
    there = folder / CALLS / sid
    there.mkdir(parents=True)
    (there / "about.json").write_bytes(msgspec.json.encode(About(sid, user, "openai", "ready", 1, 2.0, "opus", 3)))
    (there / "audio.opus").write_bytes(b"sound")


async def test_a_user_is_forgotten_and_nobody_else(tmp_path: Path) -> None:
    calls = CallRecordings(tmp_path)
    assert await calls.forget_user("ann") == 0
    for sid, user in (("a", "ann"), ("b", "bob"), ("c", "ann")):
        keep(tmp_path, sid, user)
    assert await calls.forget_user("ann") == 2
    assert await calls.about("a") is None
    about = await calls.about("b")
    assert about is not None
    assert calls.audio(about).read_bytes() == b"sound"
    assert await calls.forget("b")
    assert not await calls.forget("b")
