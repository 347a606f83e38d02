"""❶❽ The iOS app: sessions by request, a POST for each bit of speech, one endless stream of audio down, which is a WAV
unless the client wants AAC or Opus (contract C, under `/api`).

What a request finds is a record (`gateway.records`). The conversation behind it is a session like those of all doors, named
by the record's user and id, and opened by the first who speaks or listens. While nobody listens, uploading is being there.
Any request may come to any gateway.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from aiohttp import web

from gateway.admission import admit, admitted
from gateway.appkeys import BACKEND, CONNECTIONS, LIMITS, METRICS, POLICY, SETTINGS, UPLOADS
from gateway.backend import Backend
from gateway.caller import Caller
from gateway.connections import Connection
from gateway.consent import when_said
from gateway.doors import ios_messages as wire
from gateway.errors import DoorError, NotNow, SessionEnded, SessionFailed, SlowDown, TooFast
from gateway.limits import Room
from gateway.listening import Listening
from gateway.naming import take_session
from gateway.ogg import EndlessOgg
from gateway.outbox import Frame
from gateway.pacer import Pacer
from gateway.packet_pacer import AAC, OPUS, PacketPacer
from gateway.place import on_the_way, place_of
from gateway.player import CODED_ROOM_BYTES, Player
from gateway.records import ListenFormat, Record, Status
from gateway.settings import GatewaySettings
from gateway.transports.chunked import whole
from gateway.transports.endless_audio import EndlessAudio
from gateway.transports.endless_wav import EndlessWav
from gateway.uploads import STOPPED, not_found, opening, set_rate, source
from streams import down, pcm
from streams.coding import FRAMES_MS, Coding
from streams.consumer import Entry
from streams.errors import Over, StreamUnavailable
from streams.keys import PlayCodec
from streams.play import coding_of, open_play
from streams.sessions import now_ms

logger = logging.getLogger(__name__)

DOOR = "ios"
ANONYMOUS = "anonymous"
"""Whose the sessions of callers without a token are: who knows an id may use it."""

BODY_IDLE_S = 10.0
"""How long nothing of a body may come."""

RATES: dict[int, PlayCodec | None] = {16_000: "pcm16_16000", pcm.SAMPLE_RATE: None, 48_000: "pcm16_48000"}
"""What a WAV is made of at each rate; None: `down` itself."""

SPEECH_STARTED = "input_audio_buffer.speech_started"

_NO_LIMIT = 0
"""Nothing is said over the connection that listens."""


def routes() -> list[web.RouteDef]:
    one = "/api/sessions/{id}"
    return [
        web.get("/api/health", _health),
        web.post("/api/sessions", _create),
        web.get("/api/sessions", _list),
        web.get(one, _describe),
        web.post(f"{one}/start", _start),
        web.post(f"{one}/stop", _move("stopped")),
        web.post(f"{one}/complete", _move("completed")),
        web.post(f"{one}/upload_audio", uplink),
        web.get(f"{one}/stream_audio", downlink, allow_head=False),
        web.post(f"{one}/stop_stream", _stop_stream),
    ]


# ---- records --------------------------------------------------------------------------------------------------------


async def _health(_: web.Request) -> web.Response:
    return _json(b'{"status":"ok"}')


async def _create(request: web.Request) -> web.Response:
    caller = await admit(request, DOOR)
    wanted = wire.read_create(await whole(request, max_bytes=wire.MAX_CREATE_BYTES, idle_s=BODY_IDLE_S))
    await request.app[LIMITS].create_record(caller)
    recorded_by = when_said(caller.recorded_by, wanted.record)
    try:
        created = await request.app[UPLOADS].records.create(caller.user_or(ANONYMOUS), wanted, recorded_by)
        return _json(wire.created(created))
    except StreamUnavailable as error:
        raise NotNow from error


async def _list(request: web.Request) -> web.Response:
    caller = await admit(request, DOOR)
    if caller.user is None and request.app[POLICY].verifier is not None:
        return _json(wire.listed([]))  # whose they are cannot be told, and an id is all it takes to listen
    try:
        return _json(wire.listed(await request.app[UPLOADS].records.of(caller.user_or(ANONYMOUS))))
    except StreamUnavailable as error:
        raise NotNow from error


async def _describe(request: web.Request) -> web.Response:
    """Ours: a session with the latency of its uploads."""
    record = await _record(request)
    lane = request.app[UPLOADS].lane(record.id)
    report = None if lane is None else lane.latencies.report()
    return _json(wire.described(record if report is None else replace(record, latency=report)))


async def _start(request: web.Request) -> web.Response:
    return _json(wire.created(await _changed(request, await _record(request), status="running", closed=0)))


def _move(status: Status) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        record = await _changed(request, await _record(request), status=status, closed=1)
        await request.app[UPLOADS].stop(record)
        return _json(wire.created(record))

    return handle


async def _stop_stream(request: web.Request) -> web.Response:
    record = await _changed(request, await _record(request), closed=1)
    await request.app[UPLOADS].stop(record)
    return _json(b'{"status":"stopped"}')


async def _user(request: web.Request) -> str:
    return (await admit(request, DOOR)).user_or(ANONYMOUS)


async def _record(request: web.Request) -> Record:
    """As Redis has it. Raises NoSuchSession, NotNow."""
    return await _record_of(request, await admit(request, DOOR))


async def _record_of(request: web.Request, caller: Caller) -> Record:
    user = caller.user_or(ANONYMOUS)
    await whole(request, max_bytes=wire.MAX_CREATE_BYTES, idle_s=BODY_IDLE_S)  # says nothing, and keeps the connection
    try:
        record = await request.app[UPLOADS].records.get(user, request.match_info["id"])
    except StreamUnavailable as error:
        raise NotNow from error
    if record is None:
        raise not_found()
    return record


async def _changed(request: web.Request, record: Record, **fields: str | int) -> Record:
    try:
        changed = await request.app[UPLOADS].records.change(record, fields)
    except StreamUnavailable as error:
        raise NotNow from error
    if changed is None:
        raise not_found()
    return changed


# ---- up -------------------------------------------------------------------------------------------------------------


async def uplink(request: web.Request) -> web.Response:
    """One bit of speech: answered when it is stored."""
    app = request.app
    user, record_id = await _user(request), request.match_info["id"]
    body = await whole(request, max_bytes=wire.MAX_CHUNK_BYTES, idle_s=BODY_IDLE_S)
    arrived_ms = now_ms()
    record = await app[UPLOADS].record(user, record_id)
    asked = wire.read_query(request.query)
    stamped = record.packet_timestamps if asked.packet_timestamps is None else asked.packet_timestamps
    sent_ms, audio = wire.read_chunk(body, stamped=stamped, input_format=record.input_format)
    rate = record.sample_rate
    if record.input_format == "pcm16":  # else the transcoder counts, which knows how long it is
        rate = asked.sample_rate or rate
        try:
            app[LIMITS].allowance(record.id).take(len(audio) / (rate * pcm.BYTES_PER_SAMPLE), time.monotonic())
        except TooFast as error:
            raise SlowDown(error) from None
    lane = await app[UPLOADS].append(record, audio, rate)
    app[METRICS].messages.labels(DOOR, "received", "audio").inc()
    response = _json(wire.received(body))
    if sent_ms is not None and (latency_ms := lane.latencies.took(sent_ms, arrived_ms)) is not None:
        app[METRICS].uplink_latency.labels(DOOR).observe(latency_ms / 1000)
        response.headers["Server-Timing"] = f'uplink;desc="one way";dur={latency_ms}'
    return response


# ---- down -----------------------------------------------------------------------------------------------------------


async def downlink(request: web.Request) -> web.StreamResponse:
    """The session's sound, from now on or from where its listener has left it, until it ends."""
    async with admitted(request, DOOR) as caller:
        record, asked = await _record_of(request, caller), wire.read_query(request.query)
        heard = wire.to_hear(record, asked, request.headers.get("Accept", ""))
        async with request.app[LIMITS].session(caller, partial(_is_open, request.app[BACKEND], record)) as room:
            return await _play(request, record, asked, heard, room)


async def _is_open(backend: Backend, record: Record) -> bool:
    """Whether there is a conversation to go on with."""
    try:
        return await backend.sessions.find(record.user, record.id) is not None
    except StreamUnavailable as error:
        raise NotNow from error


async def _play(
    request: web.Request, record: Record, asked: wire.Asked, heard: tuple[ListenFormat, Coding], room: Room
) -> web.StreamResponse:
    app, backend = request.app, request.app[BACKEND]
    audio_format, coding = heard
    record = await _changed(request, record, closed=0)
    if record.closed:
        raise not_found()
    rate = asked.sample_rate or record.sample_rate
    try:
        if rate != record.sample_rate and await backend.sessions.find(record.user, record.id) is None:
            record = await set_rate(app[UPLOADS].records, record, rate)
        mine = await take_session(backend, opening(record, DOOR), record.id, source=source(record))
        if not mine.resumed:
            app[METRICS].sessions.labels(DOOR).inc()
        audio = _audio(audio_format, rate, app[SETTINGS])
        codec = RATES[rate] if audio_format == "wav" else audio_format
        async with on_the_way(backend, mine):
            if codec is not None:
                await open_play(backend.redis, mine.session, codec, coding)
                coding = await coding_of(backend.redis, mine.session, codec)  # what was asked first
            place = await place_of(backend, mine)
            response = await audio.open(request)
    except (StreamUnavailable, Over) as error:
        raise NotNow from error
    player = _player(audio, audio_format, rate, coding)
    connection = Connection(
        DOOR,
        audio,
        mine,
        backend,
        app[METRICS],
        _no_frame,
        place=place,
        max_waiting_bytes=_NO_LIMIT,
        codec=codec,
        way=Listening(),
        sender=player.play,
    )
    connection.on_void = player.void
    with app[CONNECTIONS].joined(connection):
        await connection.run(_hear(connection, player), _heed(connection), room.is_for(mine.session.sid))
    return response


def _audio(audio_format: ListenFormat, rate: int, settings: GatewaySettings) -> EndlessAudio:
    if audio_format == "wav":
        return EndlessWav(rate, send_timeout_s=settings.send_timeout_s, grace_s=settings.grace_s)
    content_type = wire.CONTENT_TYPES[audio_format]
    return EndlessAudio(content_type, send_timeout_s=settings.send_timeout_s, grace_s=settings.grace_s)


def _player(audio: EndlessAudio, audio_format: ListenFormat, rate: int, coding: Coding) -> Player:
    now = asyncio.get_running_loop().time()
    match audio_format:
        case "wav":
            return Player(audio, Pacer(rate, now))
        case "aac":
            return Player(audio, PacketPacer(AAC, now), room_bytes=CODED_ROOM_BYTES)
        case "opus":
            packets = OPUS[coding.frame_ms or FRAMES_MS[0]]
            ogg = EndlessOgg(packets.samples)
            return Player(audio, PacketPacer(packets, now), lambda due: ogg.say(due.pieces), CODED_ROOM_BYTES)


async def _hear(connection: Connection, player: Player) -> None:
    """Have all that the session says played, until it ends and that is played."""
    async with aclosing(connection.downlink.entries()) as entries:
        try:
            async for entry in entries:
                await player.has_room()
                _tell(connection, player, entry)
        except (SessionEnded, SessionFailed):
            await player.has_played()
            raise


def _tell(connection: Connection, player: Player, entry: Entry[down.DownMessage]) -> None:
    match entry.message:
        case down.Audio(item=item, audio=audio):
            player.feed(item, audio, entry.id)
            return
        case down.Interrupted(item=item):
            connection.void(item)
        case down.ServerEvent(type=kind) if kind == SPEECH_STARTED:
            for item in player.cut():
                connection.playhead.drop(item)
        case down.Coded(item=item, audio=audio, packets=packets):
            _feed(player, item, audio, packets)
        case down.ServerEvent(tail=tail) as event if tail:
            for end, audio in event.ends():
                _feed(player, end.item, audio, end)
        case down.Ended(reason=reason) if reason == STOPPED:
            player.cut()
        case _:
            pass
    player.mark(entry.id)


def _feed(player: Player, item: str, audio: bytes, packets: down.Packets) -> None:
    for packet in packets.split(audio):
        player.feed(item, packet)


async def _heed(connection: Connection) -> None:
    """What ends the connection ends it; in words this client cannot be told anything."""
    while True:
        await connection.outbox.get()


def _no_frame(error: DoorError) -> Frame:
    return Frame(error.code, b"")


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
