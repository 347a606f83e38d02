"""`/static/websocket_audio.html` in a real Chromium: a recording is made, saved, and is the speech that was fed in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from gateway.app import serving
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer
from tests.browser.stage import MICROPHONE_RATE, Samples, Visit, chromium, likeness, load, visit, write_wav
from tests.browser.test_voice import UNPROCESSED

pytestmark = pytest.mark.usefixtures("redis")


@asynccontextmanager
async def recording(redis: EmbeddedServer, path: str, folder: Path, *, refuse: bool = False) -> AsyncIterator[Visit]:
    """The page, open; the microphone speaks all the time."""
    speech = load("speech_jfk.flac", MICROPHONE_RATE)
    microphone = write_wav(folder / "microphone.wav", speech, speech, speech)
    settings = GatewaySettings(PORT=0, REDIS_URL=redis.url, PARLEY_UPLOADS=folder / "uploads")
    async with (
        serving(settings) as url,
        chromium(path, microphone, refuse=refuse) as browser,
        visit(browser, f"{url}/static/websocket_audio.html") as page,
    ):
        yield page


def decoded(path: Path) -> Samples:
    """What a player hears."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", MICROPHONE_RATE)
        pieces = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    return np.concatenate([piece.to_ndarray().ravel() for piece in pieces]).astype(np.int16)


def is_speech(path: Path) -> bool:
    """Opus changes a wave, but not what it is like. By half seconds: a loaded machine may not listen for a moment."""
    found, said = decoded(path), load("speech_jfk.flac", MICROPHONE_RATE)
    assert len(found) > MICROPHONE_RATE
    pieces = np.array_split(found, len(found) // (MICROPHONE_RATE // 2))
    return float(np.median([likeness(np.concatenate([said, said]), piece) for piece in pieces])) > 0.9


async def said(page: Visit, pattern: str, times: int = 1) -> None:
    """Wait until the log has so many lines like it."""
    count = "(document.getElementById('log').innerText.match(new RegExp(pattern, 'g')) ?? []).length"
    await page.until(f"([pattern, times]) => {count} >= times", [pattern, times])


async def test_a_recording_is_made_and_saved(redis_server: EmbeddedServer, chromium_path: str, tmp_path: Path) -> None:
    """Two of them, on one connection."""
    async with recording(redis_server, chromium_path, tmp_path) as page:
        await page.page.evaluate(UNPROCESSED)
        await page.page.click("#connect")
        await said(page, "Connected! Session ID: [0-9a-f]{8}")
        for number in (1, 2):
            await page.page.click("#record")
            await said(page, "🎤 Started new recording session", number)
            await said(page, r"Received \d+ bytes", 10 * number)
            if number == 1:
                await page.shot("recorder-recording")
            assert re.fullmatch(r"0:0[1-9]\.\d", await page.page.inner_text("#timer"))
            await page.page.click("#record")
            await said(page, "✅ Recording saved!", number)
        processing = {"echoCancellation": True, "noiseSuppression": True, "autoGainControl": True}
        assert await page.page.evaluate("window.asked") == {"audio": {"channelCount": 1, **processing}}
        await page.shot("recorder-saved")
        saved = await page.page.inner_text("#saved")
        await page.page.click("#connect")
        await page.until("() => document.body.dataset.line === 'idle'")
    files = sorted((tmp_path / "uploads").glob("websocket_recording_*.webm"))
    assert len(files) == 2
    assert sum(file.name in saved for file in files) == 1
    assert all(is_speech(file) for file in files)


async def test_after_a_break_a_new_recording_begins(
    redis_server: EmbeddedServer, chromium_path: str, tmp_path: Path
) -> None:
    """By itself, and with a header: both files play."""
    async with recording(redis_server, chromium_path, tmp_path) as page:
        await page.page.evaluate(UNPROCESSED)
        await page.page.click("#connect")
        await page.until("() => document.body.dataset.line === 'up'")
        await page.page.click("#record")
        await said(page, r"Received \d+ bytes", 8)
        await page.context.set_offline(True)
        await page.page.evaluate("window.parley.cut()")
        await page.until("() => document.body.dataset.line === 'waiting'")
        await page.shot("recorder-waiting")
        await page.context.set_offline(False)
        await said(page, "🎤 Started new recording session", 2)
        await said(page, r"Received \d+ bytes", 16)
        await page.page.click("#record")
        await said(page, "✅ Recording saved!")
    files = sorted((tmp_path / "uploads").glob("websocket_recording_*.webm"))
    assert len(files) == 2
    assert all(is_speech(file) for file in files)


async def test_what_the_server_refuses_is_told(redis_server: EmbeddedServer, chromium_path: str, tmp_path: Path) -> None:
    """Here: its folder is a file."""
    (tmp_path / "uploads").write_text("")
    async with recording(redis_server, chromium_path, tmp_path) as page:
        await page.page.click("#connect")
        await page.until("() => document.body.dataset.line === 'up'")
        await page.page.click("#record")
        await page.until("() => document.getElementById('notices').textContent.includes('cannot write the recording')")


async def test_a_refused_microphone_is_told(redis_server: EmbeddedServer, chromium_path: str, tmp_path: Path) -> None:
    async with recording(redis_server, chromium_path, tmp_path, refuse=True) as page:
        await page.page.click("#connect")
        await page.until("() => document.body.dataset.line === 'up'")
        await page.page.click("#record")
        await page.until("() => document.getElementById('notices').textContent.includes('microphone was refused')")
        assert await page.page.inner_text("#record") == "Start recording"
        await page.shot("recorder-refused")
