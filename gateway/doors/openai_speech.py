"""❷ `POST /v1/realtime/audio`: a recording as it is made, in one body; see `gateway.doors.openai_http`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aiohttp import web

from gateway.admission import admitted
from gateway.allowance import seconds_of
from gateway.appkeys import BACKEND, CONNECTIONS, LIMITS, METRICS
from gateway.doors.openai_downlink import formats_of
from gateway.doors.openai_entries import Samples
from gateway.doors.openai_requests import json_answer, named, numbers_now, refusals
from gateway.doors.openai_session import DOOR, source_of
from gateway.errors import ConnectionOver, MustNumber, NeedsPackets, NotNow
from gateway.posting import post_stream
from gateway.transports.chunked import chunks
from streams import pcm, turns, up
from streams.messages import Message
from streams.sessions import Session

AUDIO_IDLE_S = 60.0
"""How long nothing may come of a recording that is sent as it is made."""


def routes() -> list[web.RouteDef]:
    return [web.post("/v1/realtime/audio", _audio)]


class Speaking:
    """A recording that is sent as it is made; it ends with the process at the latest."""

    door = DOOR

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._over: asyncio.Future[ConnectionOver] = asyncio.get_running_loop().create_future()

    def over(self, why: ConnectionOver) -> None:
        """Nothing more is taken, however silent the microphone is. What came before is stored."""
        if not self._over.done():
            self._over.set_result(why)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Raises what `chunks` raises, and NotNow when it is over before its end."""
        async with aclosing(chunks(self._request, max_bytes=None, idle_s=AUDIO_IDLE_S)) as body:
            while True:
                reading = asyncio.ensure_future(anext(body, b""))
                try:
                    await asyncio.wait((reading, self._over), return_when=asyncio.FIRST_COMPLETED)
                    if self._over.done():
                        raise NotNow(str(self._over.result()))
                finally:
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
                if not (data := reading.result()):
                    return
                yield data


async def _audio(request: web.Request) -> web.Response:
    """It lasts as long as somebody speaks, so it counts as a connection."""
    async with admitted(request, DOOR) as caller:
        session, opened = await named(request, caller)
        speaking = Speaking(request)
        with request.app[CONNECTIONS].joined(speaking):
            return await _speak_in(request, speaking, session, opened)


async def _speak_in(request: web.Request, speaking: Speaking, session: Session, opened: turns.Opened) -> web.Response:
    backend = request.app[BACKEND]
    if opened.numbered:
        raise MustNumber
    with refusals(session):
        stored = await numbers_now(backend, session, opened)
        source = source_of(opened, stored.route, await formats_of(backend, session))
    if source == "opus":
        raise NeedsPackets
    chunked = stored.route == "up"
    count = 0

    def took(message: Message) -> None:
        nonlocal count
        match message:
            case pcm.Audio() as speech:
                count += speech.samples
            case up.Chunk(data=data):
                count += len(data)

    with refusals(session):
        async with aclosing(_chunks(speaking) if chunked else _speech(request, speaking, session)) as speech:
            await post_stream(backend, session, stored, speech, took)
    request.app[METRICS].messages.labels(DOOR, "received", "audio").inc()
    return json_answer({"bytes" if chunked else "samples": count})


async def _chunks(speaking: Speaking) -> AsyncGenerator[Sequence[Message], None]:
    """What comes of other audio, as it comes; how much sound it is, the transcoder sees. Raises as `_speech` does."""
    async with aclosing(speaking.pieces()) as body:
        async for data in body:
            yield [up.Chunk(data)]


async def _speech(request: web.Request, speaking: Speaking, session: Session) -> AsyncGenerator[Sequence[Message], None]:
    """What comes, in whole samples; no faster than it can be spoken. Raises what `Speaking.pieces` raises."""
    samples, allowance = Samples(), request.app[LIMITS].allowance(session.sid)
    async with aclosing(speaking.pieces()) as body:
        async for data in body:
            while (wait_s := allowance.wait_s(seconds_of(data), time.monotonic())) > 0:  # noqa: ASYNC110 - it is time that is awaited
                await asyncio.sleep(wait_s)
            allowance.take(seconds_of(data), time.monotonic())
            yield samples.take(data)
