"""A line to a server that is long, loses packets, or breaks: what that looks like to who sits at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from urllib.parse import urlsplit

CHUNK = 64 << 10
CUT_EVERY_S = (0.05, 0.7)


class Line:
    """Passes on every byte, in order, `delay_s` later each way.

    Of what is sent the part `loss` is lost and sent again: TCP makes all that is behind it wait for that, too.
    """

    def __init__(self, url: str, *, delay_s: float, loss: float = 0.0, seed: int = 1) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        self._to = address.hostname, address.port
        self.delay_s, self.loss = delay_s, loss
        self._random = Random(seed)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self.url = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Line]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        try:
            yield self
        finally:
            server.close()
            self.cut()
            if self._tasks:
                await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """All connections break, with what is under way."""
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()

    async def cut_often(self, seconds: float) -> None:
        """Again and again, and when they have just been opened anew."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            self.cut()
            await asyncio.sleep(self._random.uniform(*CUT_EVERY_S))

    async def stall(self, seconds: float) -> None:
        """Nothing gets through; all of it comes later."""
        self._flows.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there_writer}
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
            for work in (self._take(source, queue), self._give(queue, sink)):
                task = asyncio.create_task(work)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _take(self, source: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop, due = asyncio.get_running_loop(), 0.0
        try:
            while data := await source.read(CHUNK):
                again = 2 * self.delay_s + 0.2 if self._random.random() < self.loss else 0.0
                due = max(due, loop.time() + self.delay_s + again)
                queue.put_nowait((due, data))
        except OSError:
            pass
        queue.put_nowait((loop.time() + self.delay_s, b""))

    async def _give(self, queue: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        data = b"-"
        while data:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._flows.wait()
            if sink.is_closing():  # the other end is gone
                break
            sink.write(data)
        self._writers.discard(sink)
        sink.close()
