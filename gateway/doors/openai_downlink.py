"""❽ What a client of the openai door is told, over WebSocket and over HTTP alike."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from secrets import token_hex

import msgspec
from msgspec import structs

from gateway.backend import Backend
from gateway.connections import Connection
from gateway.doors import openai_audio as heard
from gateway.doors import openai_extension as extension
from gateway.doors import openai_messages as wire
from gateway.doors.openai_audio import Heard
from gateway.doors.openai_formats import NONE, Formats
from gateway.doors.openai_shapes import response_told, session_updated, truncated
from gateway.errors import ConnectionOver, DoorError, Unavailable
from gateway.outbox import Frame
from gateway.session_formats import kept
from streams import down
from streams.errors import StreamUnavailable
from streams.ids import EntryId
from streams.sessions import Session


@dataclass(frozen=True, slots=True)
class Frames:
    """How one client is told things."""

    sid: str
    dids: bool
    """it has asked for our extension"""
    heard: Heard = Heard()  # noqa: RUF009 - frozen
    """in what it hears answers"""
    streamed: bool = False
    """over Server-Sent Events, where an event stands on one line under a name, and its place is its id"""
    formats: Formats = NONE
    """what it has named in its session"""

    def reply(self, kind: str, data: bytes) -> Frame:
        """Of the door itself."""
        return Frame(kind, data, event=kind, prefix=self._prefix)

    def error(self, error: DoorError, about: str | None = None) -> Frame:
        return self.reply("error", wire.error(event_id(), error, about=about))

    def said(self, did: EntryId, kind: str, body: bytes, item: str | None = None, *, event: str | None = None) -> Frame:
        """Of the session; `kind` is for the count."""
        if self.streamed and (b"\n" in body or b"\r" in body):
            body = msgspec.json.format(body, indent=-1)
        body = wire.with_did(body, did) if self.dids else body
        return Frame(kind, body, item, did, event=event or kind, prefix=self._prefix)

    def tail(self, did: EntryId, tail: down.Tail, audio: bytes) -> Frame:
        """The end of a part; the event that ends it follows, and has its place."""
        if tail.samples:
            return replace(self.packets(did, tail.item, tail.part, audio, tail), entry=None)
        data = heard.tail_delta(did, tail, self.heard.sound(audio))
        data = wire.with_did(data, did, is_tail=True) if self.dids else data
        return Frame("audio", data, tail.item, event="response.output_audio.delta", prefix=self._prefix)

    def packets(self, did: EntryId, item: str, part: int, audio: bytes, packets: down.Packets) -> Frame:
        """Of the session, coded; the frame itself says its place."""
        data = heard.frame(did, item, part, audio, packets)
        if not self.streamed:
            return Frame("audio", data, item, is_binary=True)
        return Frame("audio", heard.in_json(data), item, did, event="parley.audio", prefix=self._prefix)

    @property
    def _prefix(self) -> str:
        return f"{self.sid}/" if self.streamed else ""


def event_id() -> str:
    return f"event_{token_hex(10)}"


async def downlink(connection: Connection, backend: Backend, frames: Frames) -> None:
    """Say all that the session says, in order, until it ends."""
    connection.stopping.flushes = True
    try:
        for mistake in frames.heard.mistakes:
            connection.trouble(mistake)
        if frames.heard.codec is not None:
            await connection.listen(frames.heard.codec, frames.heard.coding)
        while True:
            frames = await _say(connection, backend, frames)
            await connection.listen(frames.heard.codec, frames.heard.coding)
    except ConnectionOver as over:
        connection.outbox.finish(over)  # what was said last is sent before the goodbye


async def _say(connection: Connection, backend: Backend, frames: Frames) -> Frames:
    """Until it is to be said from another stream: then how. What a client names counts from the `session.updated` on."""
    async with aclosing(connection.downlink.entries()) as entries:
        async for entry in entries:
            before = frames.heard
            if isinstance(entry.message, down.ServerEvent):
                for tail, audio in entry.message.ends():
                    if tail.item in connection.downlink.void:
                        continue
                    await connection.outbox.put(frames.tail(entry.id, tail, audio))
                if entry.message.type == "conversation.item.truncated":
                    connection.playhead.cut(*truncated(entry.message.body), asyncio.get_running_loop().time())
                if entry.message.type == "session.updated":
                    frames = await _named_anew(backend, connection.session, frames)
            frame = _frame(connection, frames, entry.id, entry.message)
            if frame is not None:
                await connection.outbox.put(frame)
            connection.said(entry.id)
            connection.heard = entry.id
            if (frames.heard.codec, frames.heard.coding) != (before.codec, before.coding):
                return frames
    raise AssertionError("it ends by an exception only")


async def _named_anew(backend: Backend, session: Session, frames: Frames) -> Frames:
    try:
        formats = await formats_of(backend, session)
    except StreamUnavailable as error:
        raise Unavailable from error
    if formats.output == frames.formats.output:
        return replace(frames, formats=formats)
    return replace(frames, formats=formats, heard=formats.heard or frames.heard)


def _frame(connection: Connection, frames: Frames, did: EntryId, message: down.DownMessage) -> Frame | None:
    """What the client is told of an entry; None for what it need not know."""
    match message:
        case down.Audio(audio=b""):
            return None
        case down.Audio(item=item, audio=audio):
            data = wire.audio_delta(did, structs.replace(message, audio=frames.heard.sound(audio)))
            return frames.said(did, "audio", data, item, event="response.output_audio.delta")
        case down.Coded(item=item, part=part, audio=audio, packets=packets):
            return frames.packets(did, item, part, audio, packets) if packets.sizes else None
        case down.ServerEvent("session.updated", body):
            updated = session_updated(bytes(body), frames.sid, frames.formats.shown)
            return frames.said(did, "event", updated, event="session.updated")
        case down.ServerEvent(("response.created" | "response.done") as kind, body) if frames.formats.output is not None:
            told = response_told(bytes(body), frames.formats.output)
            return frames.said(did, "event", told, event=kind)
        case down.ServerEvent(kind, body):
            return frames.said(did, "event", bytes(body), event=kind)
        case down.Failed(code, _):
            connection.metrics.errors.labels(connection.door, "upstream").inc()
            connection.log.info("the client is told of a failure: %s", code)
            return frames.said(did, "error", wire.failed(event_id(), message))
        case down.Notice(final=True):
            return frames.said(did, "error", wire.ends(event_id(), message))
        case down.Notice():
            return frames.said(did, "notice", extension.notice(message), event="parley.notice") if frames.dids else None
        case down.Interrupted(item=item):
            connection.void(item)
            return None
        case down.Reconnecting() | down.Resumed() if frames.dids:
            is_back = isinstance(message, down.Resumed)
            return frames.said(did, "event", extension.model_line(is_back=is_back), event=extension.MODEL)
        case down.Opened() | down.EpochTaken() | down.PersonaSet() | down.Ended() | down.Reconnecting() | down.Resumed():
            return None


async def formats_of(backend: Backend, session: Session) -> Formats:
    """What its client has named last. Raises StreamUnavailable."""
    return Formats(*await kept(backend.redis, session))
