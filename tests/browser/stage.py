"""What the tests of the pages stand on: a Chromium whose microphone hears a file, in front of the whole system."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize, async_playwright

ROOT = Path(__file__).parents[2]
MEDIA = ROOT / "tests" / "media"
ARTIFACTS = ROOT / "artifacts"

LIMIT_MS = 30_000.0
"""The longest that a test waits for anything."""

DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
RATE = 24_000
MICROPHONE_RATE = 48_000

Samples = npt.NDArray[np.int16]

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
)


def load(name: str, rate: int) -> Samples:
    """A recording of `tests/media`, mono, at this rate."""
    with av.open(str(MEDIA / name)) as container:
        resampler = av.AudioResampler("s16", "mono", rate)
        frames = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().ravel() for frame in frames]).astype(np.int16)


def silence(seconds: float, rate: int = MICROPHONE_RATE) -> Samples:
    return np.zeros(round(seconds * rate), np.int16)


def write_wav(path: Path, *pieces: Samples) -> Path:
    """What the microphone will hear: 48 kHz, mono."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MICROPHONE_RATE)
        file.writeframes(np.concatenate(pieces).tobytes())
    return path


def read_wav(path: Path) -> Samples:
    """A file that the page made."""
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        data = file.readframes(file.getnframes())
        assert len(data) == 2 * file.getnframes()
    return np.frombuffer(data, "<i2").astype(np.int16)


def likeness(found: Samples, said: Samples) -> float:
    """The highest normalised correlation of `said` with a place in `found`: 1 where it is there unchanged."""
    a, b = found.astype(np.float64), said.astype(np.float64)
    size = 1 << (len(a) + len(b) - 1).bit_length()
    products = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    energy = np.concatenate([[0.0], np.cumsum(a**2)])
    places = np.arange(0, max(1, len(a) - len(b) + 1))
    window = energy[np.minimum(places + len(b), len(a))] - energy[places]
    scale = np.sqrt(np.maximum(window * (b**2).sum(), 1.0))
    loud = window > 0.25 * (b**2).sum() * (a**2).sum() / max((b**2).sum(), (a**2).sum(), 1.0)
    return float(np.max(np.where(loud, products[places] / scale, 0.0)))


@asynccontextmanager
async def chromium(path: str, microphone: Path | None = None, *, refuse: bool = False) -> AsyncIterator[Browser]:
    """A browser with a profile of its own. Its microphone hears this file once, or is refused."""
    flags = list(_FLAGS)
    if microphone is not None:
        flags.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    flags.append("--deny-permission-prompts" if refuse else "--use-fake-ui-for-media-stream")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=flags, headless=True)
        try:
            yield browser
        finally:
            await browser.close()


_REMARKS = ("Failed to load resource", "WebSocket connection to")
"""The browser's own, on a network that is cut and on a 404 of what a server does not have: no mistakes of the page."""


_NOTE_PHASES = """
  window.phases = [];
  document.addEventListener("DOMContentLoaded", () => {
    const note = () => window.phases.push(document.body.dataset.phase);
    new MutationObserver(note).observe(document.body, { attributeFilter: ["data-phase"] });
  });
"""
_HAS_BEEN = """(name) => {
  const at = window.phases.indexOf(name);
  if (at >= 0) window.phases.splice(0, at + 1);
  return at >= 0;
}"""


class Visit:
    """One page, and what it complained about."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context, self.page = context, page
        self.complaints: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_REMARKS):
            self.complaints.append(message.text)

    async def until(self, condition: str, argument: object = None) -> None:
        """Wait until this expression is true in the page."""
        await self.page.wait_for_function(condition, arg=argument, timeout=LIMIT_MS)

    async def phase(self, name: str) -> None:
        """Wait until the page is in this phase, or has been since the last call: a short one is not missed."""
        await self.until(_HAS_BEEN, name)

    async def state(self, expression: str) -> Any:
        return await self.page.evaluate(f"(parley => {expression})(window.parley)")

    async def texts(self, role: str) -> list[str]:
        """What the transcript shows of one side."""
        return await self.page.locator(f"#transcript .row-{role} .text").all_inner_texts()

    async def shot(self, name: str) -> None:
        """A picture at both widths, for people to look at."""
        ARTIFACTS.mkdir(exist_ok=True)
        before = self.page.viewport_size
        for suffix, size in (("desktop", DESKTOP), ("phone", PHONE)):
            await self.page.set_viewport_size(size)
            assert await self.page.evaluate("document.documentElement.scrollWidth") <= size["width"], name
            await self.page.screenshot(path=ARTIFACTS / f"{name}-{suffix}.png", full_page=suffix == "phone")
        if before is not None:
            await self.page.set_viewport_size(before)

    async def save(self, button: str, path: Path) -> Path:
        """Press a button that makes a download."""
        async with self.page.expect_download(timeout=LIMIT_MS) as download:
            await self.page.click(button)
        await (await download.value).save_as(path)
        return path


@asynccontextmanager
async def visit(browser: Browser, url: str, viewport: ViewportSize = DESKTOP, **options: Any) -> AsyncIterator[Visit]:
    """Open a page; it must have had nothing to complain about."""
    context = await browser.new_context(viewport=viewport, accept_downloads=True, **options)
    context.set_default_timeout(LIMIT_MS)
    page = await context.new_page()
    visit = Visit(context, page)
    await page.add_init_script(_NOTE_PHASES)
    await page.goto(url)
    try:
        yield visit
    finally:
        await context.close()
    assert not visit.complaints, visit.complaints
