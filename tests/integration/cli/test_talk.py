"""`parley talk` against a door that says what a test wants it to say."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pybase64
import pytest
from aiohttp import web

from cli.app import HELLO
from cli.errors import TalkError
from cli.talk import TalkResult, read_recording, talk
from runtime.ports import HeldPorts
from tests.integration.cli.running import REPOSITORY

Turn = Callable[[web.WebSocketResponse], Awaitable[object]]

PCM = b"\x01\x00" * 12_000  # half a second


def audio(content: bytes = PCM) -> dict[str, str]:
    """A piece of the answer."""
    return {"type": "audio_response", "audio": pybase64.b64encode_as_string(content)}


async def says(socket: web.WebSocketResponse, *messages: dict[str, str]) -> None:
    """The gateway's side of a turn."""
    for message in messages:
        await socket.send_json(message)


@contextlib.asynccontextmanager
async def door(turn: Turn, heard: list[web.Request | bytes] | None = None) -> AsyncIterator[str]:
    """A gateway with the mobile door alone; its URL."""

    async def mobile(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        message = msgspec.json.decode(await socket.receive_str())
        assert message["type"] == "audio"
        if heard is not None:
            heard.extend([request, pybase64.b64decode(message["audio"])])
        await turn(socket)
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/ws-mobile/{user}", mobile)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"ws://{host}:{port}"
    finally:
        await runner.cleanup()


async def say_hello(url: str, timeout_s: float = 5.0) -> TalkResult:
    """One turn with the sample."""
    return await talk(read_recording(HELLO), url, user="ann", token="t0ken", timeout_s=timeout_s)


async def test_a_turn_is_complete_with_its_text() -> None:
    """The text comes once, after the last audio."""
    heard: list[web.Request | bytes] = []
    answer = (audio(), audio(), {"type": "text_response", "text": "hello there"}, audio())
    async with door(lambda socket: says(socket, *answer), heard) as url:
        result = await say_hello(url)
    assert result.good
    assert bytes(result.audio) == PCM * 2
    assert (result.received_seconds, result.transcript) == (1.0, "hello there")
    assert result.first_audio_ms is not None
    assert heard[1] == HELLO.read_bytes()
    assert isinstance(heard[0], web.Request)
    assert heard[0].match_info["user"] == "ann"
    assert heard[0].headers["Authorization"] == "Bearer t0ken"


async def test_messages_of_other_types_are_let_pass() -> None:
    """The gateway may say more than this client knows."""
    answer = ({"type": "transcript"}, {"type": "pong"}, audio(), {"type": "text_response", "text": ""})
    async with door(lambda socket: says(socket, *answer)) as url:
        assert (await say_hello(url)).good


async def test_an_error_ends_the_turn_with_the_gateways_sentence() -> None:
    """No answer will come."""
    answer = {"type": "error", "error": "This is not audio: it is a ZIP file."}
    async with door(lambda socket: says(socket, answer)) as url:
        result = await say_hello(url)
    assert result.errors == ["This is not audio: it is a ZIP file."]
    assert not result.good


async def test_a_gateway_that_falls_silent_is_not_waited_for_for_ever() -> None:
    """And what came so far is kept."""
    async with door(lambda socket: says(socket, audio())) as url:
        result = await say_hello(url, timeout_s=1.0)
    assert result.errors == ["The gateway said nothing for 1 s after 0.5 s of audio."]
    assert bytes(result.audio) == PCM


async def test_a_closed_connection_is_told_with_its_reason() -> None:
    """And in mid-conversation."""
    async with door(lambda socket: socket.close(code=1012, message=b"This server restarts.")) as url:
        assert (await say_hello(url)).errors == [
            "The gateway closed the connection (1012: This server restarts.) in mid-conversation."
        ]


async def test_who_has_no_token_reads_how_to_get_one() -> None:
    """1008 is the close code for whoever is not admitted."""
    async with door(lambda socket: socket.close(code=1008, message=b"Invalid token")) as url:
        (sentence,) = (await say_hello(url)).errors
    assert sentence.startswith("The gateway does not let this client in (1008: Invalid token): show it one")
    assert "`parley token` mints one" in sentence


async def test_what_is_no_message_is_an_error() -> None:
    """Not a traceback."""
    async with door(lambda socket: socket.send_str("{]")) as url:
        assert "not a message of this door" in (await say_hello(url)).errors[0]


async def test_where_nobody_listens_the_sentence_says_how_to_start_one() -> None:
    refused = r"^Nothing answers at ws://127.* \(connection refused\): start it with `make run`"
    with HeldPorts() as ports, pytest.raises(TalkError, match=refused):
        await say_hello(f"ws://127.0.0.1:{ports.take()}")


async def test_a_gateway_without_tls_is_not_asked_for_it() -> None:
    """Whoever writes https:// reads why nothing answers there."""
    async with door(lambda socket: says(socket)) as url:
        with pytest.raises(TalkError, match=r"\(it does not speak TLS; write ws:// or http://\)"):
            await talk(read_recording(HELLO), url.replace("ws://", "https://").replace("http://", "https://"))


async def test_another_server_is_recognised_as_such() -> None:
    """HTTP, but no such door."""
    async with door(lambda socket: says(socket)) as url:
        with pytest.raises(TalkError, match="not as Parley's mobile door does: HTTP 404"):
            await talk(read_recording(HELLO), f"{url}/elsewhere")


async def command(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    """`parley talk` as a person runs it: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "talk", *arguments),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", "PATH": "/usr/bin:/bin"},
    )
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


async def test_the_command_prints_a_table_and_keeps_the_answer(tmp_path: Path) -> None:
    """For people."""
    async with door(lambda socket: says(socket, audio(), {"type": "text_response", "text": "[hello]"})) as url:
        code, out, error = await command(str(HELLO), "--url", url, cwd=tmp_path)
    assert (code, error) == (0, "")
    for words in ("hello.m4a: 4.8 s, aac 44.1 kHz mono", "0.5 s of speech", "[hello]", ".parley/answer.wav"):
        assert words in out
    with wave.open(str(tmp_path / ".parley" / "answer.wav")) as file:
        assert (file.getframerate(), file.readframes(-1)) == (24_000, PCM)


async def test_with_json_standard_output_is_one_object(tmp_path: Path) -> None:
    """For scripts; the exit code says that something went wrong."""
    async with door(lambda socket: says(socket, audio(), {"type": "error", "error": "it broke"})) as url:
        code, out, error = await command(str(HELLO), "--url", url, "--json", "-o", "out.wav", cwd=tmp_path)
    assert (code, error) == (1, "")
    answer = msgspec.json.decode(out)
    assert answer["errors"] == ["it broke"]
    assert answer["received"] == "out.wav"
    assert answer["received_seconds"] == 0.5


async def test_a_raw_file_is_declared_and_a_wav_answer_asked_for(tmp_path: Path) -> None:
    """In the query string."""
    heard: list[web.Request | bytes] = []
    (tmp_path / "words.pcm").write_bytes(PCM)
    async with door(lambda socket: says(socket, audio(), {"type": "text_response", "text": ""}), heard) as url:
        code, _, _ = await command("words.pcm", "--url", url, "--audio-format", "wav", cwd=tmp_path)
    assert code == 0
    assert isinstance(heard[0], web.Request)
    assert dict(heard[0].query) == {"paced": "0", "input_format": "pcm16", "audio_format": "wav"}


async def test_without_a_server_the_command_ends_with_one_sentence(tmp_path: Path) -> None:
    """And exit code 1."""
    with HeldPorts() as ports:
        url = f"ws://127.0.0.1:{ports.take()}"
        code, out, error = await command(str(HELLO), "--url", url, cwd=tmp_path)
    assert (code, out) == (1, "")
    assert error.startswith(f"parley: Nothing answers at {url}")
    assert error.count("\n") == 1
