"""❶ The browser recorder: MediaRecorder's chunks over a WebSocket, into files.

There is no model behind this door, and no session in Redis: a connection, its recordings, and the disk. A chunk is
acknowledged when it has been handed to the operating system, and the next frame is read then: a slow disk slows the client
down.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Literal

from aiohttp import web

from gateway.admission import admitted
from gateway.appkeys import CONNECTIONS, METRICS, RECORDINGS, SETTINGS
from gateway.errors import (
    ClientLeft,
    ConnectionOver,
    InvalidMessage,
    NotSaved,
    RecordingOver,
    RecordingStopped,
    Refused,
)
from gateway.goodbye import to_its_end
from gateway.metrics import Metrics
from gateway.outbox import Frame, Outbox
from gateway.recordings import Recording, Recordings, Saved, new_id
from gateway.transports.websocket import Binary, TextSocket
from runtime.logs import SessionLogger

DOOR = "recorder"

logger = logging.getLogger(__name__)

MAX_CHUNK_BYTES = 16 << 20
"""A MediaRecorder that was paused may give minutes at once. A larger frame breaks the connection (1009)."""

LAST_FRAMES_S = 5.0
"""How long what a client had sent before its line broke may take to be dealt with."""

Received = Literal["audio", "start_recording", "stop_recording", "text", "refused"]
Sent = Literal["connected", "received", "started", "saved", "nothing", "echo", "error"]


def routes() -> list[web.RouteDef]:
    return [web.get("/ws", _record)]


class Recorder:
    """One connected browser. Made in the loop; `run` must follow."""

    def __init__(self, socket: TextSocket, recordings: Recordings, metrics: Metrics) -> None:
        self.door = DOOR
        self._socket, self._recordings, self._metrics = socket, recordings, metrics
        self._outbox = Outbox()
        self._id = new_id()
        self._recording: Recording | None = None
        self._stopped: Saved | None = None
        """what there is of a recording that was stopped for a fault, until the client asks for it"""
        self._refuses = False
        """chunks, until a new recording is started"""
        self._nobody_listens = False
        self._dismissed: asyncio.Future[ConnectionOver] = asyncio.get_running_loop().create_future()
        self._log = SessionLogger(logger, self._id)

    def over(self, why: ConnectionOver) -> None:
        """Save what is being recorded, tell the client, and end the connection."""
        if not self._dismissed.done():
            self._dismissed.set_result(why)

    async def run(self) -> None:
        """Until the client has left or is told to. What it has sent is saved, whatever ends this."""
        since = time.monotonic()
        self._log.info("a client of the recorder door has connected")
        over = ConnectionOver("Something went wrong here. Please connect again.")
        try:
            over = await self._until_over()
        except asyncio.CancelledError:
            over = ClientLeft()
            raise
        finally:
            await to_its_end(self._end(over))
            lasted = time.monotonic() - since
            self._log.info("a client of the recorder door is gone after %.1f s: %s", lasted, over.code)

    async def _until_over(self) -> ConnectionOver:
        first: BaseException = ClientLeft()
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(), name=f"gateway.recorder {self._id}")
                tasks.create_task(self._send(), name=f"gateway.recorder {self._id}")
                tasks.create_task(self._obey(reading), name=f"gateway.recorder {self._id}")
        except* ConnectionOver as group:
            first = group.exceptions[0]
        assert isinstance(first, ConnectionOver)
        return first

    async def _read(self) -> None:
        """Deal with all that the client sends, one thing after the other. Raises ConnectionOver."""
        await self._say("connected", f"Connected! Session ID: {self._id}. Ready to receive audio data.")
        await self._deal()
        raise ClientLeft

    async def _deal(self) -> None:
        async with aclosing(self._socket.received_any()) as frames:
            async for frame in frames:
                try:
                    await (self._take(frame.data) if isinstance(frame, Binary) else self._hear(frame))
                except RecordingStopped as error:
                    await self._stop_for(error)
                except Refused as error:
                    self._count_received("refused")
                    await self._tell(error, str(error))

    async def _take(self, chunk: bytes) -> None:
        """Write one chunk, then acknowledge it. An empty one begins nothing."""
        self._count_received("audio")
        if chunk:
            if self._refuses:
                raise RecordingOver
            if self._recording is None:
                self._recording = self._recordings.begin(self._id, datetime.now(UTC))
            await self._recordings.write(self._recording, chunk)
        await self._say("received", f"Received {len(chunk)} bytes")

    async def _hear(self, text: bytes) -> None:
        match text:
            case b"START_RECORDING":
                self._count_received("start_recording")
                await self._start()
            case b"STOP_RECORDING":
                self._count_received("stop_recording")
                await self._stop()
            case _:
                try:
                    said = text.decode()
                except UnicodeDecodeError:
                    raise InvalidMessage("This text is not UTF-8.") from None
                self._count_received("text")
                await self._say("echo", f"Echo: {said}")

    async def _start(self) -> None:
        """Save what has begun; its name and place are in the log. The new file is made with its first chunk."""
        try:
            await self._save()
        except NotSaved as error:
            await self._tell(error, str(error))
        self._refuses, self._stopped = False, None
        self._id = new_id()
        await self._say("started", f"🎤 Started new recording session: {self._id}")

    async def _stop(self) -> None:
        try:
            saved = await self._save() or self._stopped
        except NotSaved as error:
            await self._tell(error, str(error))
            return
        self._stopped = None
        await self._tell_saved(saved)

    async def _stop_for(self, error: RecordingStopped) -> None:
        """End the recording because of a fault: what was written of it is saved, and the client told all of it."""
        self._refuses = True
        sentences = [str(error)]
        try:
            if (saved := await self._save()) is not None:
                self._stopped = saved
                sentences.append(f"What came before is saved in {saved.file}.")
        except NotSaved as worse:
            self._count(worse)
            sentences.append(str(worse))
        await self._tell(error, *sentences, "Send START_RECORDING to begin another one.")

    async def _save(self) -> Saved | None:
        """Finish the recording, if there is one. Raises NotSaved."""
        if self._recording is None:
            return None
        recording, self._recording = self._recording, None
        try:
            saved = await self._recordings.save(recording)
        except NotSaved as error:
            self._log.error("a recording was not saved: %s", error)
            raise
        if saved is not None:
            self._log.info("a recording is saved: %s", saved.file, extra={"bytes": saved.size, "chunks": saved.chunks})
        return saved

    async def _tell_saved(self, saved: Saved | None) -> None:
        if saved is None:
            await self._say("nothing", "No audio data received to save.")
        else:
            sizes = f"Size: {saved.size} bytes, Chunks: {saved.chunks}"
            await self._say("saved", f"✅ Recording saved! File: {saved.file}, {sizes}")

    async def _tell(self, error: Refused, *sentences: str) -> None:
        self._count(error)
        await self._say("error", f"Error: {' '.join(sentences)}")

    async def _say(self, kind: Sent, text: str) -> None:
        """When there is room: a client that reads nothing is not read either."""
        if not self._nobody_listens:
            await self._outbox.put(Frame(kind, text.encode()))

    async def _send(self) -> None:
        """The only task that writes to the socket."""
        while True:
            frame = await self._outbox.get()
            await self._socket.send(frame.data)
            self._metrics.messages.labels(DOOR, "sent", frame.kind).inc()

    async def _obey(self, reading: asyncio.Task[None]) -> None:
        """When told to, read no more, save, and say so before the goodbye."""
        over = await self._dismissed
        reading.cancel()
        await asyncio.wait([reading])
        if self._recording is not None:
            with suppress(NotSaved):
                await self._tell_saved(await self._save())
        self._outbox.finish(over)

    async def _end(self, over: ConnectionOver) -> None:
        self._nobody_listens = True
        if over.fault != "nobody":
            self._count(over)
        if over.close_code is None:
            await self._socket.close(over)
            await self._deal_with_the_last()
        with suppress(NotSaved):
            await self._save()
        if over.close_code is not None:
            await self._socket.close(over)

    async def _deal_with_the_last(self) -> None:
        """A client that is gone may have sent more than was read: that has arrived, and is dealt with."""
        with suppress(ConnectionOver, TimeoutError):
            async with asyncio.timeout(LAST_FRAMES_S):
                await self._deal()

    def _count(self, error: Refused | ConnectionOver) -> None:
        self._metrics.errors.labels(DOOR, error.code).inc()

    def _count_received(self, kind: Received) -> None:
        self._metrics.messages.labels(DOOR, "received", kind).inc()


async def _record(request: web.Request) -> web.StreamResponse:
    """One connection, from the handshake to the last word."""
    app, settings = request.app, request.app[SETTINGS]
    async with admitted(request, DOOR):
        # aiohttp refuses what is as large as its limit
        socket = TextSocket(max_message_bytes=MAX_CHUNK_BYTES + 1, send_timeout_s=settings.send_timeout_s)
        response = await socket.open(request)
        recorder = Recorder(socket, app[RECORDINGS], app[METRICS])
        with app[CONNECTIONS].joined(recorder):
            await recorder.run()
        return response
