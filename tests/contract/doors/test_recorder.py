"""The recorder door, as a browser's page speaks to it: text controls, binary chunks, exact answers, and files."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import av
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_sync

from gateway.app import create_app
from gateway.doors.recorder import MAX_CHUNK_BYTES
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer
from tests.contract.doors.stage import LIMIT_S, Stage, clients_are_cut_off_soon

MEDIA = Path(__file__).parents[2] / "media" / "mediarecorder"
CONNECTED = re.compile(r"Connected! Session ID: ([0-9a-f]{8})\. Ready to receive audio data\.")
STARTED = re.compile(r"🎤 Started new recording session: ([0-9a-f]{8})")
SAVED = re.compile(
    r"✅ Recording saved! File: (uploads/websocket_recording_\d{8}_\d{6}_([0-9a-f]{8})\.webm),"
    r" Size: (\d+) bytes, Chunks: (\d+)"
)
NOTHING = "No audio data received to save."
MAX_RECORDING_BYTES = 20 << 20


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "uploads"


@pytest.fixture
def settings(redis_server: EmbeddedServer, uploads: Path, send_timeout_s: float) -> GatewaySettings:
    return GatewaySettings(
        PORT=0,
        REDIS_URL=redis_server.url,
        PARLEY_SEND_TIMEOUT_S=send_timeout_s,
        PARLEY_UPLOADS=uploads,
        PARLEY_MAX_RECORDING_BYTES=MAX_RECORDING_BYTES,
    )


class Page:
    """The browser's side."""

    def __init__(self, ws: ClientConnection, id_: str) -> None:
        self.ws, self.id = ws, id_

    async def hear(self) -> str:
        async with asyncio.timeout(LIMIT_S):
            heard = await self.ws.recv()
        assert isinstance(heard, str)
        return heard

    async def ask(self, message: str | bytes) -> str:
        await self.ws.send(message)
        return await self.hear()

    async def send_all(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            assert await self.ask(chunk) == f"Received {len(chunk)} bytes"

    async def start(self) -> str:
        """The new id."""
        started = STARTED.fullmatch(await self.ask("START_RECORDING"))
        assert started is not None
        return started[1]

    async def stop(self) -> re.Match[str]:
        """SAVED."""
        saved = SAVED.fullmatch(heard := await self.ask("STOP_RECORDING"))
        assert saved is not None, heard
        return saved


@asynccontextmanager
async def page(url: str) -> AsyncIterator[Page]:
    async with connect(url.replace("http", "ws", 1) + "/ws", max_size=None, proxy=None) as ws:
        async with asyncio.timeout(LIMIT_S):
            connected = CONNECTED.fullmatch(str(await ws.recv()))
        assert connected is not None
        yield Page(ws, connected[1])


def files(uploads: Path) -> list[Path]:
    return sorted(uploads.iterdir()) if uploads.exists() else []


def names(uploads: Path) -> list[str]:
    return [path.name for path in files(uploads)]


async def send_for_ever(ws: ClientConnection, text: str) -> None:
    while True:
        await ws.send(text)


async def saved_file(uploads: Path) -> Path:
    """The only file, as soon as it is saved."""
    async with asyncio.timeout(LIMIT_S):
        while [name[-5:] for name in names(uploads)] != [".webm"]:  # noqa: ASYNC110 - a file: no event
            await asyncio.sleep(0.005)
    return files(uploads)[0]


def media_chunks() -> list[bytes]:
    sizes = json.loads((MEDIA / "chromium_opus.webm.json").read_text())
    with (MEDIA / "chromium_opus.webm").open("rb") as file:
        return [file.read(size) for size in sizes]


def decoded(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data), mode="r", format="matroska") as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


async def test_a_real_recording_is_saved_as_it_came_and_plays(stage: Stage, uploads: Path) -> None:
    chunks = media_chunks()
    async with page(stage.url) as browser:
        id_ = await browser.start()
        assert id_ != browser.id
        await browser.send_all(chunks)
        saved = await browser.stop()
    whole = b"".join(chunks)
    assert (saved[2], int(saved[3]), int(saved[4])) == (id_, len(whole), len(chunks))
    data = (uploads / Path(saved[1]).name).read_bytes()
    assert data == whole
    pcm = decoded(data)
    assert np.array_equal(pcm, decoded(whole))
    assert pcm.shape[1] > 5.5 * 48_000
    assert np.abs(pcm).max() > 0.05
    assert names(uploads) == [Path(saved[1]).name]


async def test_chunks_are_on_disk_when_they_are_acknowledged(stage: Stage, uploads: Path) -> None:
    """In a file that says that it is not finished. Nothing is made before the first chunk."""
    async with page(stage.url) as browser:
        id_ = await browser.start()
        assert names(uploads) == []
        so_far = b""
        for chunk in (b"one", b"\x00" * 100_000, b"three"):
            await browser.send_all([chunk])
            so_far += chunk
            (part,) = files(uploads)
            assert part.name.endswith(f"_{id_}.webm.part")
            assert part.read_bytes() == so_far


async def test_without_start_the_first_chunk_begins_a_recording(stage: Stage, uploads: Path) -> None:
    """Under the id that was told on connect; START_RECORDING saves it and goes on under another."""
    async with page(stage.url) as browser:
        await browser.send_all([b"before"])
        id_ = await browser.start()
        await browser.send_all([b"after"])
        saved = await browser.stop()
    assert saved[2] == id_
    assert {path.stem[-8:]: path.read_bytes() for path in files(uploads)} == {browser.id: b"before", id_: b"after"}


async def test_many_recordings_on_one_connection(stage: Stage, uploads: Path) -> None:
    async with page(stage.url) as browser:
        said: dict[str, bytes] = {}
        for number in range(5):
            await browser.start()
            await browser.send_all([b"a%d" % number, b"b%d" % number])
            saved = await browser.stop()
            assert (saved[3], saved[4]) == ("4", "2")
            said[Path(saved[1]).name] = b"a%db%d" % (number, number)
    assert {path.name: path.read_bytes() for path in files(uploads)} == said


async def test_a_chunk_that_comes_after_stop_is_kept_in_a_file_of_its_own(stage: Stage, uploads: Path) -> None:
    async with page(stage.url) as browser:
        await browser.send_all([b"whole"])
        first = await browser.stop()
        await browser.send_all([b"late"])
        second = await browser.stop()
    assert [(uploads / Path(saved[1]).name).read_bytes() for saved in (first, second)] == [b"whole", b"late"]


async def test_stop_without_data(stage: Stage, uploads: Path) -> None:
    """Empty frames are no data."""
    async with page(stage.url) as browser:
        assert await browser.ask("STOP_RECORDING") == NOTHING
        assert await browser.ask(b"") == "Received 0 bytes"
        assert await browser.ask("STOP_RECORDING") == NOTHING
        await browser.send_all([b"one", b"", b"two"])
        saved = await browser.stop()
        assert (saved[3], saved[4]) == ("6", "2")
        assert await browser.ask("STOP_RECORDING") == NOTHING
    assert names(uploads) == [Path(saved[1]).name]


@pytest.mark.parametrize("text", ["hello", "", "start_recording", " STOP_RECORDING", "🎤 ä", "x" * 300_000])
async def test_any_other_text_is_echoed(stage: Stage, text: str) -> None:
    async with page(stage.url) as browser:
        assert await browser.ask(text) == f"Echo: {text}"


async def test_text_that_is_no_text_is_refused(stage: Stage) -> None:
    async with stage.http.ws_connect(f"{stage.url}/ws") as ws:
        assert CONNECTED.fullmatch(await ws.receive_str())
        await ws.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT)
        assert await ws.receive_str() == "Error: This text is not UTF-8."
        await ws.send_str("still there?")
        assert await ws.receive_str() == "Echo: still there?"


async def test_a_browser_that_closes_in_the_middle(stage: Stage, uploads: Path) -> None:
    async with page(stage.url) as browser:
        await browser.ws.send(b"read")
        await browser.ws.send(b" and unread")
    assert (await saved_file(uploads)).read_bytes() == b"read and unread"
    assert names(uploads)[0].endswith(f"_{browser.id}.webm")


async def test_a_line_that_breaks_in_the_middle(stage: Stage, uploads: Path) -> None:
    """All that has arrived is saved, also what had not been dealt with when the end of the line was noticed."""
    chunks = [b"%06d" % number * 50 for number in range(1000)]
    async with page(stage.url) as browser:
        for chunk in chunks:
            await browser.ws.send(chunk)
        browser.ws.transport.write_eof()
        assert (await saved_file(uploads)).read_bytes() == b"".join(chunks)


@clients_are_cut_off_soon
async def test_a_client_that_does_not_read_is_cut_off_and_saved(stage: Stage, uploads: Path) -> None:
    """It asks for more than its socket can hold."""
    async with page(stage.url) as browser:
        await browser.send_all([b"kept"])
        browser.ws.transport.pause_reading()
        with pytest.raises(ConnectionClosed):  # it may say so much, and not for ever
            await send_for_ever(browser.ws, "x" * 1_000_000)
    assert (await saved_file(uploads)).read_bytes() == b"kept"
    assert await stage.metric('parley_gateway_errors_total{code="slow_client",door="recorder"}') == 1


async def test_a_recording_that_grows_too_large(stage: Stage, uploads: Path) -> None:
    """What came before is saved and may be asked for; nothing more of it is taken, until another is started."""
    megabytes = [bytes([number]) * (10 << 20) for number in range(3)]
    async with page(stage.url) as browser:
        await browser.send_all(megabytes[:2])
        told = await browser.ask(megabytes[2])
        (file,) = names(uploads)
        assert told == (
            f"Error: The recording is too large: {MAX_RECORDING_BYTES} bytes are allowed."
            f" What came before is saved in uploads/{file}. Send START_RECORDING to begin another one."
        )
        assert (uploads / file).read_bytes() == b"".join(megabytes[:2])
        assert (await browser.ask(b"more")).startswith("Error: This was not recorded, because the recording has ended.")
        saved = await browser.stop()
        assert (saved[1], saved[3], saved[4]) == (f"uploads/{file}", str(20 << 20), "2")
        assert await browser.ask("STOP_RECORDING") == NOTHING
        assert (await browser.ask(b"more")).startswith("Error: ")
        id_ = await browser.start()
        await browser.send_all([b"fine"])
        assert (await browser.stop())[2] == id_
    assert await stage.metric('parley_gateway_errors_total{code="recording_too_large",door="recorder"}') == 1
    assert await stage.metric('parley_gateway_errors_total{code="recording_over",door="recorder"}') == 2


async def test_the_largest_chunk_is_taken_and_a_larger_one_ends_the_connection(stage: Stage, uploads: Path) -> None:
    """With 1009; what came before it is saved."""
    async with page(stage.url) as browser:
        await browser.send_all([b"\x01" * MAX_CHUNK_BYTES])
        browser.ws.transport.write(b"\x82\xff" + (MAX_CHUNK_BYTES + 1).to_bytes(8, "big") + b"mask")  # its head is enough
        with pytest.raises(ConnectionClosed):
            await browser.hear()
        assert browser.ws.close_code == 1009
    assert (await saved_file(uploads)).stat().st_size == MAX_CHUNK_BYTES
    assert await stage.metric('parley_gateway_errors_total{code="frame_too_large",door="recorder"}') == 1


async def test_a_folder_that_cannot_be_written_is_told(stage: Stage, uploads: Path) -> None:
    """And works as soon as it can. Where it is on this machine is not told."""
    uploads.parent.write_text("a file, where a folder should be")
    async with page(stage.url) as browser:
        told = await browser.ask(b"chunk")
        assert told == (
            "Error: This server cannot write the recording (Not a directory). Send START_RECORDING to begin another one."
        )
        assert await browser.ask("STOP_RECORDING") == NOTHING
        uploads.parent.unlink()
        assert (await browser.ask(b"chunk")).startswith("Error: This was not recorded")
        await browser.start()
        await browser.send_all([b"chunk"])
        await browser.stop()


async def test_a_recording_that_cannot_be_given_its_name_keeps_what_it_has(stage: Stage, uploads: Path) -> None:
    """Somebody else's file has that name: it is not overwritten."""
    async with page(stage.url) as browser:
        await browser.send_all([b"ours"])
        (part,) = files(uploads)
        part.with_suffix("").write_bytes(b"theirs")
        told = await browser.ask("STOP_RECORDING")
        assert (
            told == f"Error: The recording could not be finished (File exists). What was written is in uploads/{part.name}."
        )
    assert (part.read_bytes(), part.with_suffix("").read_bytes()) == (b"ours", b"theirs")


async def test_recording_needs_no_redis(uploads: Path) -> None:
    with EmbeddedServer() as server:
        app = create_app(GatewaySettings(PORT=0, REDIS_URL=server.url, PARLEY_UPLOADS=uploads))
        async with TestClient(TestServer(app)) as client:
            server.kill()
            async with client.ws_connect("/ws") as ws:
                assert CONNECTED.fullmatch(await ws.receive_str(timeout=LIMIT_S))
                await ws.send_bytes(b"chunk")
                assert await ws.receive_str(timeout=LIMIT_S) == "Received 5 bytes"
                await ws.send_str("STOP_RECORDING")
                assert SAVED.fullmatch(await ws.receive_str(timeout=LIMIT_S))


async def test_a_request_that_is_no_websocket_is_refused(stage: Stage) -> None:
    async with stage.http.get(f"{stage.url}/ws") as response:
        assert (response.status, response.headers["Upgrade"]) == (426, "websocket")
        assert "open it with a WebSocket client" in (await response.json())["error"]


async def test_it_counts(stage: Stage) -> None:
    async with page(stage.url) as browser:
        assert await stage.metric('parley_gateway_connections{door="recorder"}') == 1
        await browser.start()
        await browser.send_all([b"a", b"b"])
        await browser.stop()
        await browser.ask("STOP_RECORDING")
        await browser.ask("hello")
        counted = 'parley_gateway_messages_total{direction="%s",door="recorder",type="%s"}'
        for direction, kind, count in [
            ("received", "audio", 2),
            ("received", "start_recording", 1),
            ("received", "stop_recording", 2),
            ("received", "text", 1),
            ("sent", "connected", 1),
            ("sent", "received", 2),
            ("sent", "started", 1),
            ("sent", "saved", 1),
            ("sent", "nothing", 1),
            ("sent", "echo", 1),
        ]:
            assert await stage.metric(counted % (direction, kind)) == count, kind


async def test_nothing_that_a_client_says_kills_it(stage: Stage, uploads: Path) -> None:
    """Each message has one answer, and what was recorded is on disk to the byte."""
    recorded: list[bytes] = []
    messages = st.lists(
        st.binary(max_size=300) | st.text(max_size=50) | st.sampled_from(["START_RECORDING", "STOP_RECORDING"])
    )

    def talk() -> None:
        with connect_sync(stage.url.replace("http", "ws", 1) + "/ws", proxy=None) as ws:
            ws.recv(LIMIT_S)

            @hypothesis_settings(max_examples=150, deadline=None, database=None)
            @given(messages)
            def every(said: list[bytes | str]) -> None:
                for message in said:
                    ws.send(message)
                    heard = str(ws.recv(LIMIT_S))
                    match message:
                        case bytes():
                            assert heard == f"Received {len(message)} bytes"
                            recorded.append(message)
                        case "START_RECORDING":
                            assert STARTED.fullmatch(heard)
                        case "STOP_RECORDING":
                            assert SAVED.fullmatch(heard) or heard == NOTHING
                        case _:
                            assert heard == f"Echo: {message}"

            every()

    await asyncio.to_thread(talk)
    async with asyncio.timeout(LIMIT_S):
        while any(name.endswith(".part") for name in names(uploads)):  # noqa: ASYNC110 - a file: no event
            await asyncio.sleep(0.005)
    assert sum(path.stat().st_size for path in files(uploads)) == sum(map(len, recorded))
    async with page(stage.url) as browser:
        assert await browser.ask("hello") == "Echo: hello"
