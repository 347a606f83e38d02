"""What the tutorials' code is run against: the whole of Parley in this process, behind a line that can be cut."""

from __future__ import annotations

import asyncio
import os
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from simulator import voice

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
LIMIT_S = 20.0
RATE = 24_000

Samples = npt.NDArray[np.int16]


class Network:
    """Between a client and one gateway; it can break, for whoever is connected."""

    def __init__(self, gateway: str, cut_at: int) -> None:
        self._gateway, self._until_cut = urlsplit(gateway), cut_at
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.connections = 0

    def cut(self) -> None:
        """No goodbye, to neither end."""
        assert self._ends, "somebody is connected"
        for end in self._ends:
            end.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        there, back = await asyncio.open_connection(self._gateway.hostname, self._gateway.port)
        ends = {writer, back}
        self._ends |= ends
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_pump(reader, back))
                ways.create_task(self._pump_down(there, writer))
        except* (EOFError, ConnectionError):
            pass
        finally:
            for end in ends:
                end.transport.abort()
            self._ends -= ends
            self._tasks.discard(task)

    async def _pump_down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
            if 0 < self._until_cut <= len(data):
                self.cut()
            self._until_cut -= len(data)
        raise EOFError

    async def end(self) -> None:
        for writer in self._ends:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    raise EOFError


@asynccontextmanager
async def network(gateway: str, cut_at: int = 0) -> AsyncIterator[Network]:
    """Its `url` is the gateway's, for the client. `cut_at`: it breaks once, when so many bytes have come down; 0: never."""
    line = Network(gateway, cut_at)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()
        await line.end()


async def run(*command: str | Path, code: int = 0, **environment: str) -> list[str]:
    """A client, to its end, which must be this. What it says, line by line, on either output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1 << 24,
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(LIMIT_S):
            lines.extend([line.decode().rstrip() async for line in process.stdout])
            assert await process.wait() == code, "\n".join(lines)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return lines


def speech(seconds: float) -> Samples:
    """So much of somebody speaking, 24 kHz."""
    return np.frombuffer(voice.hello(), "<i2")[RATE // 10 :][: round(seconds * RATE)].astype(np.int16)


def write_wav(path: Path, samples: Samples) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


def read_wav(path: Path) -> Samples:
    with wave.open(str(path), "rb") as file:
        assert file.getparams()[:3] == (1, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
