"""A recorded call on a real disk: what is written twice, what a dead worker has left, and what is made of it."""

from __future__ import annotations

import os
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from streams.hub import Hub
from transcoder.call_files import About, CallFiles, Track
from transcoder.recorder import Calls
from transcoder.rendering import Format, render
from transcoder.shelf import DAY_S, LEFT_AFTER_S, Shelf
from transcoder.track_lines import Generated, Happened, Plays, Spoken, Stretch, Switch

T = 1_700_000_000_000
RATE = 24_000
SID = "a" * 32
USER = (np.sin(np.arange(3 * RATE) * 2 * np.pi * 440 / RATE) * 8000).astype("<i2")
MODEL = (np.sin(np.arange(RATE) * 2 * np.pi * 1000 / RATE) * 8000).astype("<i2")


def write(files: CallFiles, *, upto_s: float = 3.0) -> None:
    """As a worker does, from where the one before has come to; `upto_s`: then it dies."""
    reached = files.begin(About(SID, "ann", "openai"))
    tracks = {name: Track(name, at) for name, at in reached.items()}
    done = int(tracks["pcm"].reached.last.partition("-")[0])
    for n in range(done, round(upto_s * 10)):
        piece = USER[n * 2400 : (n + 1) * 2400].tobytes()
        tracks["pcm"].add(f"{n + 1}-0", Spoken(T + 100 * (n + 1), tracks["pcm"].reached.samples, 2400), piece)
    if tracks["heard"].reached.last == "0-0":
        stretch = Stretch("i", 0, 0.0, 600.0, T + 1000.0)
        tracks["heard"].add("1-0", Switch(T, True, "token"))
        tracks["heard"].add("2-0", Plays(T + 1000, "c", "0-0", False, T + 1000.0, (stretch,), ()))
        tracks["down"].add("1-1", Generated(T + 900, "1-1", "i", 0, 0, 0, RATE), MODEL.tobytes())
        tracks["down"].add("1-2", Happened(T + 950, "response.done", msgspec.Raw(b'{"type":"response.done"}')))
    for name, track in tracks.items():
        files.write(name, *track.take())
    files.keep_state({name: track.reached for name, track in tracks.items()})


def sound(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "stereo", RATE)
        frames = [frame for coded in container.decode(audio=0) for frame in resampler.resample(coded)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1, 2) for frame in frames])


@pytest.mark.parametrize("format_", ["wav", "opus"])
def test_a_recording_is_both_voices(tmp_path: Path, format_: Format) -> None:
    files = CallFiles(tmp_path, SID)
    write(files)
    about = render(files, format_, T + 5000)
    assert about is not None
    assert (about.status, about.seconds, about.begins_ms, about.user) == ("ready", 3.0, T, "ann")
    both = sound(files.folder / f"audio.{format_}").astype(float)
    assert len(both) == pytest.approx(3 * RATE, abs=2)
    expected = np.zeros((3 * RATE, 2))
    expected[:, 0] = USER
    expected[RATE : RATE + 14_400, 1] = MODEL[:14_400]
    both, expected = both[: len(expected)], expected[: len(both)]
    for channel in (0, 1):
        error = both[:, channel] - expected[:, channel]
        assert np.sqrt((error**2).mean()) < (1e-9 if format_ == "wav" else 900), "each voice on its side, in its place"
    assert not files.is_raw
    log = [msgspec.json.decode(line) for line in (files.folder / "events.jsonl").read_bytes().splitlines()]
    assert [(line["ms"], line["type"]) for line in log] == [
        (0, "recording.on"), (0, "user.audio"), (950, "response.done"), (1000, "model.audio"), (1000, "client.hears"),
    ]  # fmt: skip


def test_a_wav_is_one_that_everybody_reads(tmp_path: Path) -> None:
    files = CallFiles(tmp_path, SID)
    write(files)
    render(files, "wav", T)
    with wave.open(str(files.folder / "audio.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, RATE, 3 * RATE)


def test_who_goes_on_writes_the_same(tmp_path: Path) -> None:
    """Of one that died in the middle of it, and of one that does not know that it is relieved."""
    once, twice = CallFiles(tmp_path / "once", SID), CallFiles(tmp_path / "twice", SID)
    write(once)
    write(twice, upto_s=1.7)
    state = (twice.folder / "raw" / "state.json").read_bytes()
    write(twice, upto_s=2.5)
    (twice.folder / "raw" / "state.json").write_bytes(state)  # it died before it could say how far it had come
    write(twice)
    write(twice, upto_s=2.0)
    for name in ("pcm.s16", "pcm.jsonl", "down.s16", "down.jsonl", "heard.jsonl"):
        assert (once.folder / "raw" / name).read_bytes() == (twice.folder / "raw" / name).read_bytes(), name


def test_a_line_that_was_cut_off_is_none(tmp_path: Path) -> None:
    files = CallFiles(tmp_path, SID)
    write(files)
    log = files.folder / "raw" / "pcm.jsonl"
    os.truncate(log, log.stat().st_size - 5)
    about = render(files, "wav", T)
    assert about is not None
    assert about.seconds == 2.9


async def test_what_was_left_behind_is_made_and_what_is_old_goes(tmp_path: Path, hub: Hub) -> None:
    threads = ThreadPoolExecutor(1)
    shelf = Shelf(hub, Calls(tmp_path, "wav", threads, threads), keep_days=1.0)
    files = CallFiles(tmp_path, SID)
    write(files)
    now = time.time()
    await shelf.look(now + LEFT_AFTER_S / 2)
    assert files.is_raw, "somebody may still write"
    await hub.redis.hset(f"parley:{{{SID}}}:recorded", "pcm", "0-0")
    await shelf.look(now + 2 * LEFT_AFTER_S)
    assert files.is_raw, "the call goes on, and is quiet"
    await hub.redis.delete(f"parley:{{{SID}}}:recorded")
    await shelf.look(now + 2 * LEFT_AFTER_S)
    about = files.about()
    assert about is not None
    assert about.status == "ready"
    await shelf.look(now + DAY_S)
    assert files.folder.exists()
    await shelf.look(now + DAY_S + 3 * LEFT_AFTER_S)
    assert not files.folder.exists()
    threads.shutdown()
