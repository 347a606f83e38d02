"""`python -m bench.load ORDER`: sessions that speak 25 frames a second and time what comes back, in their own process."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from array import array
from random import Random
from time import perf_counter
from typing import Literal

import aiohttp
import msgspec
import uvloop

from bench.messages import Began, Ended, Order, Report, Result, RoundTrip
from cli.load.coding import Coding, Echoes, delta_of
from cli.load.figures import percentile
from runtime.child import die_with_parent

FRAMES = Coding.of(1_920)
"""40 ms"""

OPEN_LIMIT_S = 30.0
DRAIN_LIMIT_S = 3.0
"""How long what is still under way may take after the last frame; then it is lost."""


class Voice:
    """One session."""

    def __init__(self, http: aiohttp.ClientSession, url: str, session: int, phase: float, *, talks: bool = True) -> None:
        self.echoes = Echoes(session, FRAMES)
        self.sent_at = array("d")
        """of each frame"""
        self.late: list[float] = []
        """seconds behind its schedule, of each frame"""
        self.came_at: dict[int, float] = {}
        self.first_echo: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.troubles: list[str] = []
        self._http, self._url, self._session, self._phase = http, url, session, phase
        self._talks = talks
        self._stopped = self._closing = False
        self._is_to_stop = asyncio.Event()
        self._all_back = asyncio.Event()

    async def run(self) -> None:
        """Open, and speak and listen until `stop` and what was said is back."""
        try:
            async with self._http.ws_connect(self._url, compress=0, max_msg_size=0, decode_text=False) as ws:
                await ws.receive()  # session.created
                listening = asyncio.create_task(self._listen(ws))
                try:
                    await self._speak(ws)
                    async with asyncio.timeout(DRAIN_LIMIT_S):
                        await self._all_back.wait()
                except TimeoutError:
                    pass
                finally:
                    self._closing = True
                    await ws.close()
                    await listening
        except (aiohttp.ClientError, ConnectionError) as error:
            self.troubles.append(f"{type(error).__name__}: {error}")
        if not self.first_echo.done():
            self.first_echo.set_exception(ConnectionError("; ".join(self.troubles) or "it ended before its first echo"))
            self.first_echo.exception()

    def stop(self) -> None:
        self._stopped = True
        self._is_to_stop.set()

    async def _speak(self, ws: aiohttp.ClientWebSocketResponse[Literal[False]]) -> None:
        due = perf_counter() + self._phase
        while True:
            if (wait := due - perf_counter()) > 0:
                await asyncio.sleep(wait)
            if self._stopped or ws.closed:
                break
            now = perf_counter()
            self.late.append(now - due)
            self.sent_at.append(now)
            await ws.send_frame(FRAMES.append_event(self._session, len(self.sent_at) - 1), aiohttp.WSMsgType.TEXT)
            due += FRAMES.frame_s
            if not self._talks:
                await self._is_to_stop.wait()
        self._look_whether_all_is_back()

    async def _listen(self, ws: aiohttp.ClientWebSocketResponse[Literal[False]]) -> None:
        async for message in ws:
            event: bytes = message.data
            delta = delta_of(event)
            if delta is None:
                if b'"type":"error"' in event:
                    self.troubles.append(event.decode()[:300])
                continue
            now = perf_counter()
            for number in self.echoes.feed(delta):
                self.came_at.setdefault(number, now)
                if not self.first_echo.done():
                    self.first_echo.set_result(now)
            if self._stopped:
                self._look_whether_all_is_back()
        if not self._closing:
            self.troubles.append(f"the connection ended with {ws.close_code}")
            self.stop()
            self._all_back.set()

    def _look_whether_all_is_back(self) -> None:
        if len(self.came_at) == len(self.sent_at):
            self._all_back.set()


async def load(order: Order) -> None:
    """Do what the order says, and report it."""
    random = Random(order.seed)
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": "Bearer bench"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
        began = perf_counter()
        phases = [random.random() * FRAMES.frame_s if order.seconds else 0.0 for _ in range(order.sessions)]
        voices = [
            Voice(http, order.url, order.first + index, phase, talks=index < order.talking)
            for index, phase in enumerate(phases)
        ]
        running = [asyncio.create_task(voice.run()) for voice in voices]
        opened = await asyncio.wait([voice.first_echo for voice in voices], timeout=OPEN_LIMIT_S)
        window = (0.0, 0.0)
        if order.seconds:
            await asyncio.sleep(order.warm_up_s)
            gc.freeze()
            window = await _measure(order.seconds)
        for voice in voices:
            voice.stop()
        await asyncio.gather(*running)
    times = [future.result() - began for future in opened[0] if future.exception() is None]
    _say(_result(voices, window, [] if order.seconds else times))


async def _measure(seconds: float) -> tuple[float, float]:
    _say(Began())
    began = perf_counter()
    await asyncio.sleep(seconds)
    _say(Ended())
    return began, perf_counter()


def _result(voices: list[Voice], window: tuple[float, float], opened_s: list[float]) -> Result:
    began, ended = window
    trips: list[float] = []
    late: list[float] = []
    for voice in voices:
        for number, (at, behind) in enumerate(zip(voice.sent_at, voice.late, strict=True)):
            if began <= at < ended:
                late.append(behind * 1000)
                if (came := voice.came_at.get(number)) is not None:
                    trips.append((came - at) * 1000)
    return Result(
        sent=sum(len(voice.sent_at) for voice in voices),
        received=sum(voice.echoes.seen.total() for voice in voices),
        lost=sum(voice.echoes.lost(len(voice.sent_at)) for voice in voices),
        doubled=sum(voice.echoes.doubled for voice in voices),
        foreign=sum(voice.echoes.foreign for voice in voices),
        broken=sum(voice.echoes.broken for voice in voices),
        troubles=tuple(trouble for voice in voices for trouble in voice.troubles)[:20],
        round_trip=_round_trip(trips) if trips else None,
        late_p99_ms=percentile(late, 99) if late else 0.0,
        opened_ms=tuple(seconds * 1000 for seconds in opened_s),
    )


def _round_trip(trips: list[float]) -> RoundTrip:
    return RoundTrip(len(trips), percentile(trips, 50), percentile(trips, 95), percentile(trips, 99), max(trips))


def _say(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    if os.environ.get("PARLEY_PARENT_PID"):
        die_with_parent()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(load(msgspec.json.decode(sys.argv[1], type=Order)))
