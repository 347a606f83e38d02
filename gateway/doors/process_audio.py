"""❶❽ The old REST call of the React Native app: a signpost, and on demand an answer to one recording.

  POST /api/process-audio              where to go instead
  POST /api/process-audio?mode=sync    one recording, as the body or as the file of a form (`audio` or `file`):
        200 {"success":true,"transcript":…,"text":…,"audio":<base64>,…}, or {"success":false,"error":"a sentence"}

Behind it is a session like all others, with a door of its own, that is opened for the one answer and ended with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

import msgspec
import pybase64
from aiohttp import web

from gateway.admission import admitted, host_of, scheme_of
from gateway.answers import AnswerFailed, Answers, Spoken, SpokenPackets, SpokenWhole, Written
from gateway.appkeys import BACKEND, CONNECTIONS, LIMITS, METRICS, SETTINGS
from gateway.backend import Backend
from gateway.commands import command
from gateway.doors import mobile, mobile_messages
from gateway.doors.api_messages import read_user
from gateway.downlink import Downlink
from gateway.errors import (
    ConnectionOver,
    DoorError,
    EmptyAudio,
    InvalidRequest,
    NoAnswer,
    NoAnswerInTime,
    NoBridge,
    NotNow,
    RequestRefused,
    UnusableAudio,
)
from gateway.goodbye import to_its_end
from gateway.holding import NO_BRIDGE_S
from gateway.naming import Opened, new_session
from gateway.output import Wrapping
from gateway.session import ClientSession, Recording, Speech
from gateway.transports.forms import recording_of
from gateway.uplink import Uplink
from gateway.wav import wav
from runtime.logs import SessionLogger
from streams import down, pcm, turns
from streams.attach import ATTACH_RENEW_S
from streams.errors import StreamError, StreamUnavailable
from streams.keys import new_sid
from streams.messages import End
from streams.play import open_play
from streams.sessions import now_ms

logger = logging.getLogger(__name__)

DOOR = "batch"
ANYBODY = "anonymous"

ANSWER_WITHIN_S = 90.0
"""From the recording to the last word of its answer."""

TRANSCRIPT_WITHIN_S = 5.0
"""What the user said is written down by another model, which may be slower than the answer."""

ANSWERED = "answered"
"""Why such a session has ended: it was for this."""

_TRANSCRIPT = "conversation.item.input_audio_transcription.completed"
_DAMAGED = "damaged_media"
_MEDIA = frozenset({"media_error", "empty", "not_audio", "unsupported_media", "broken_media", "too_large", "too_long"})
"""Codes of `Failed` after which no answer comes because of what was sent."""

_MIME = {"wav": "audio/wav", "pcm16": "audio/pcm", "opus": "audio/ogg", "aac": "audio/aac"}


def routes() -> list[web.RouteDef]:
    return [web.post("/api/process-audio", _process)]


class Result(msgspec.Struct, omit_defaults=True):
    """What a recording is answered with."""

    success: bool
    session: str
    transcript: str | None
    """of the recording; None when nobody writes it down"""
    text: str
    """of the answer"""
    audio: str
    """of the answer, base64"""
    audio_format: str
    mime_type: str
    sample_rate: int


async def _process(request: web.Request) -> web.Response:
    if request.query.get("mode") != "sync":
        return _signpost(request)
    try:
        async with admitted(request, mobile.DOOR) as caller, request.app[LIMITS].session(caller) as room:
            asked = _asked(request)
            name = read_user(request.query.get("user_id") or ANYBODY)
            said = await _said(request, asked)
            opened = turns.Opened(
                caller.user_or(name), DOOR, persona=asked.persona, turn_mode="utterance", recorded_by=caller.recorded_by
            )
            async with _session(request.app[BACKEND], opened) as mine:
                await room.is_for(mine.session.sid)
                request.app[METRICS].sessions.labels(DOOR).inc()
                return await _answered(request, mine, asked, said)
    except RequestRefused as refused:
        request.app[METRICS].errors.labels(DOOR, refused.code).inc()
        response = _json({"success": False, "error": str(refused)}, refused.status)
        response.headers.update(refused.headers)
        if not request.content.at_eof():
            response.force_close()
        return response


def _signpost(request: web.Request) -> web.Response:
    """The old REST call, kept to say where to go."""
    scheme = "wss" if scheme_of(request) == "https" else "ws"
    body = {
        "success": False,
        "error": "Please use WebSocket connection for voice chat",
        "websocket_url": f"{scheme}://{host_of(request)}/ws-mobile/{{user_id}}",
    }
    return _json(body)


def _asked(request: web.Request) -> mobile_messages.Asked:
    """Raises InvalidRequest."""
    asked = mobile_messages.read_query({"audio_format": "wav", **request.query})
    if asked.errors:
        raise InvalidRequest(str(asked.errors[0]))
    if asked.input_format == mobile.STREAM:
        raise InvalidRequest("A request holds one whole recording: leave input_format away, or say pcm16.")
    return asked


async def _said(request: web.Request, asked: mobile_messages.Asked) -> Recording | Speech:
    """Raises RequestRefused."""
    data = await recording_of(request, max_bytes=request.app[SETTINGS].max_file_bytes)
    if asked.input_format == "auto":
        if not data:
            raise InvalidRequest(str(EmptyAudio()))
        return Recording(data, now_ms())
    whole = data[: len(data) // pcm.BYTES_PER_SAMPLE * pcm.BYTES_PER_SAMPLE]
    if not whole:
        raise InvalidRequest(str(EmptyAudio()))
    return Speech(whole, now_ms())


@asynccontextmanager
async def _session(backend: Backend, opened: turns.Opened) -> AsyncIterator[Opened]:
    """Held while the context lasts, and then ended. Raises NotNow."""
    try:
        mine = await new_session(backend, opened)
    except StreamUnavailable as error:
        raise NotNow from error
    try:
        yield mine
    finally:
        await to_its_end(_end(backend, mine, opened))


async def _end(backend: Backend, mine: Opened, opened: turns.Opened) -> None:
    with suppress(StreamError):  # then it ends by itself, when nobody holds it
        if not await backend.sessions.end_unspoken(mine.session, mine.attachment.value):
            await command(backend, mine.session, opened, End(ANSWERED), new_sid())
            await mine.attachment.detach()


class _Caller:
    """Whoever waits for the answer, as this process's connections know them."""

    door = DOOR

    def __init__(self) -> None:
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def over(self, why: ConnectionOver) -> None:
        self.fail(NotNow(str(why)))

    def fail(self, why: RequestRefused) -> None:
        if not self.told.done():
            self.told.set_exception(why)


async def _answered(
    request: web.Request, mine: Opened, asked: mobile_messages.Asked, said: Recording | Speech
) -> web.Response:
    app, session = request.app, mine.session
    backend, caller, log = app[BACKEND], _Caller(), SessionLogger(logger, session.sid)

    def trouble(error: DoorError) -> None:
        caller.fail(NotNow(str(error)))

    uplink = Uplink(backend, session, trouble, log, state=ClientSession(), max_waiting_bytes=app[SETTINGS].max_file_bytes)
    downlink = Downlink(backend, session, codec=asked.output.codec)
    listening = _Listening(asked, transcribes=app[SETTINGS].transcription_model is not None)
    with app[CONNECTIONS].joined(caller):
        tasks = [
            asyncio.create_task(listening.hear(downlink), name=f"gateway.batch {session.sid}"),
            asyncio.create_task(_hold(mine, downlink), name=f"gateway.batch.hold {session.sid}"),
        ]
        try:
            if asked.output.codec is not None:
                await open_play(backend.redis, session, asked.output.codec, asked.output.coding)
            uplink.put(said)
            async with asyncio.timeout(ANSWER_WITHIN_S):
                done, _ = await asyncio.wait([*tasks, caller.told], return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        except TimeoutError:
            raise NoAnswerInTime from None
        except StreamError as error:
            raise NotNow from error
        finally:
            for task in tasks:
                task.cancel()
            caller.told.cancel()
            await asyncio.wait(tasks)
            await uplink.leave()
    return _json(listening.result(session.sid))


async def _hold(mine: Opened, downlink: Downlink) -> None:
    """Be the session's client for as long as it takes. Raises NotNow when nobody takes it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + NO_BRIDGE_S
    while downlink.is_bridged or loop.time() < until:
        await asyncio.sleep(ATTACH_RENEW_S)
        with suppress(StreamUnavailable):
            await mine.attachment.renew()
    raise NotNow(str(NoBridge()))


class _Listening:
    """Gathers the one answer."""

    def __init__(self, asked: mobile_messages.Asked, *, transcribes: bool) -> None:
        self._output = asked.output
        self._answers = Answers(whole=asked.output.codec not in ("opus", "aac"))
        self._wrapping = Wrapping(asked.output)
        self._audio = bytearray()
        self._transcript: str | None = None
        self._text: str | None = None
        self._waits = transcribes

    async def hear(self, downlink: Downlink) -> None:
        """Until there is an answer, and what it answers is written down. Raises NoAnswer, UnusableAudio."""
        try:
            async with asyncio.timeout(None) as waiting, aclosing(downlink.entries()) as entries:
                async for entry in entries:
                    self._take(entry.message)
                    if self._text is None:
                        continue
                    if not self._waits or self._transcript is not None:
                        return
                    if waiting.when() is None:
                        waiting.reschedule(asyncio.get_running_loop().time() + TRANSCRIPT_WITHIN_S)
        except TimeoutError:
            pass
        except ConnectionOver as over:
            raise NoAnswer(str(over)) from None
        except msgspec.DecodeError as error:
            raise NoAnswer from error

    def _take(self, message: down.DownMessage) -> None:
        match message:
            case down.Failed(code=code, message=sentence) if code in _MEDIA:
                raise UnusableAudio(sentence)
            case down.Failed(code="unknown_persona", message=sentence):
                raise InvalidRequest(sentence)
            case down.Failed(code=code, message=sentence) if code != _DAMAGED:
                raise NoAnswer(sentence)
            case down.ServerEvent(type=kind, body=body) if kind == _TRANSCRIPT:
                self._transcript = str(msgspec.json.decode(body)["transcript"])
        for part in self._answers.hear(message):
            match part:
                case SpokenWhole(audio=audio) | Spoken(audio=audio):
                    self._audio += audio
                case SpokenPackets(item, index, audio, packets):
                    self._audio += self._wrapping.wrapped(item, index, audio, packets)
                case Written(text=text):
                    self._text = text
                case AnswerFailed(sentence=sentence):
                    raise NoAnswer(sentence)

    def result(self, sid: str) -> Result:
        kind, rate = self._output.audio_format, self._output.output_rate
        audio = wav(self._audio, rate) if kind == "wav" else bytes(self._audio)
        shown = pybase64.b64encode_as_string(audio)
        return Result(True, sid, self._transcript, self._text or "", shown, kind, _MIME[kind], rate)


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
