"""`parley talk`: send one recording to a gateway as the mobile app would, and keep what it answers.

`talk` is the client, for whoever needs one; `run` is the command around it.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import sys
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec
import pybase64
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.errors import TalkError

SAMPLE_RATE = 24_000
"""Hertz, of the answer and of a `.pcm` file: s16le, mono."""

DEFAULT_URL = "ws://127.0.0.1:8000"
DEFAULT_TIMEOUT_S = 30.0

_BYTES_PER_SECOND = SAMPLE_RATE * 2
_MAX_MESSAGE = 64 * 1024 * 1024  # bytes: with audio_format=wav the whole answer is one message
_CONNECT_LIMIT_S = 5.0
_HOW_TO_COME_IN = "show it one that it takes with --token; `parley token` mints one, with the gateway's JWT_SECRET."
_LAYOUTS = {"1 channels": "mono", "2 channels": "stereo"}
"""What FFmpeg calls the channels of a file that says only how many they are."""

AudioFormat = Literal["pcm16", "wav"]
Report = Callable[[str], None]
"""Told in a few words what is going on."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A file as it is."""

    path: Path
    content: bytes
    seconds: float | None
    """None when the file does not tell."""
    description: str
    """Codec, rate and channels, for a person."""

    @property
    def raw(self) -> bool:
        """Whether it is PCM16 24 kHz mono without a header, which has to be declared."""
        return self.path.suffix.lower() in (".pcm", ".raw")


@dataclass(slots=True)
class TalkResult:
    """What came of it."""

    sent_seconds: float | None
    audio: bytearray = field(default_factory=bytearray)
    """PCM16 24 kHz mono."""
    first_audio_ms: float | None = None
    """From the last byte sent to the first audio received."""
    transcript: str = ""
    errors: list[str] = field(default_factory=list)
    """The gateway's sentences, and ours about an answer that did not come to its end."""

    @property
    def received_seconds(self) -> float:
        return len(self.audio) / _BYTES_PER_SECOND

    @property
    def good(self) -> bool:
        """Speech came back, and nothing went wrong."""
        return bool(self.audio) and not self.errors


class _Answer(msgspec.Struct):
    """A message of the door; which fields are there depends on the type."""

    type: str
    audio: str = ""
    text: str = ""
    error: str = ""


def read_recording(path: Path) -> Recording:
    """Read a file and look at what it is. Raises TalkError when it cannot be read or is empty."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TalkError(f"{path} cannot be read: {error.strerror or error}.") from None
    if not content:
        raise TalkError(f"{path} is empty.")
    if path.suffix.lower() in (".pcm", ".raw"):
        return Recording(path, content, len(content) / _BYTES_PER_SECOND, "PCM16 24 kHz mono, raw")
    seconds, description = _probe(content)
    return Recording(path, content, seconds, description)


async def talk(
    recording: Recording,
    url: str = DEFAULT_URL,
    *,
    user: str | None = None,
    audio_format: AudioFormat = "pcm16",
    timeout_s: float = DEFAULT_TIMEOUT_S,
    token: str | None = None,
    report: Report = lambda _: None,
) -> TalkResult:
    """Send the recording to the mobile door, and collect the answer until it is complete.

    `timeout_s` is the longest time to wait for the next message; `token` is a device token, as `parley token` mints. Raises
    TalkError when nobody answers at `url`; errors of the conversation itself are in the result.
    """
    result = TalkResult(recording.seconds)
    address = _door(url, user or f"talk-{secrets.token_hex(6)}", recording.raw, audio_format)
    message = msgspec.json.encode({"type": "audio", "audio": pybase64.b64encode_as_string(recording.content)}).decode()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_LIMIT_S)) as session:
        try:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            socket = await session.ws_connect(address, headers=headers, max_msg_size=_MAX_MESSAGE, compress=0)
        except aiohttp.WSServerHandshakeError as error:
            raise TalkError(
                f"{_shown(url)} answers, but not as Parley's mobile door does:"
                f" HTTP {error.status} at {urlsplit(address).path}."
            ) from None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise TalkError(
                f"Nothing answers at {_shown(url)} ({_reason(error)}): start it with `make run` or `parley up`."
            ) from None
        async with socket:
            report(f"sending {len(recording.content) / 1000:.0f} kB")
            await socket.send_str(message)
            await _collect(socket, result, audio_format, timeout_s, report)
    return result


async def _collect(
    socket: aiohttp.ClientWebSocketResponse,
    result: TalkResult,
    audio_format: AudioFormat,
    timeout_s: float,
    report: Report,
) -> None:
    """Read until the answer's text, which comes once, after its last audio; or until an error."""
    sent = time.monotonic()
    report("waiting for the answer")
    while True:
        try:
            message = await socket.receive(timeout_s)
        except TimeoutError:
            so_far = f" after {result.received_seconds:.1f} s of audio" if result.audio else ""
            result.errors.append(f"The gateway said nothing for {timeout_s:g} s{so_far}.")
            return
        if message.type is not aiohttp.WSMsgType.TEXT:
            reason = f": {message.extra}" if message.extra else ""
            closed = f"({socket.close_code}{reason})"
            result.errors.append(
                f"The gateway does not let this client in {closed}: {_HOW_TO_COME_IN}"
                if socket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION
                else f"The gateway closed the connection {closed} in mid-conversation."
            )
            return
        try:
            answer = msgspec.json.decode(message.data, type=_Answer)
        except msgspec.MsgspecError as error:
            result.errors.append(f"The gateway sent something that is not a message of this door: {error}.")
            return
        match answer.type:
            case "audio_response":
                if result.first_audio_ms is None:
                    result.first_audio_ms = (time.monotonic() - sent) * 1000
                result.audio += _pcm(pybase64.b64decode(answer.audio), audio_format)
                report(f"{result.received_seconds:.1f} s of audio received")
            case "text_response":
                result.transcript = answer.text
                return
            case "error":
                result.errors.append(answer.error or "The gateway reported an error without saying which.")
                return


def write_wav(path: Path, pcm: bytes | bytearray) -> None:
    """Write PCM16 24 kHz mono as a WAV file. Raises TalkError when the place cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as place, wave.open(place, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(pcm)
    except OSError as error:
        raise TalkError(f"{path} cannot be written: {error.strerror or error}.") from None


def _pcm(audio: bytes, audio_format: AudioFormat) -> bytes:
    if audio_format == "pcm16" or not audio.startswith(b"RIFF"):
        return audio
    with contextlib.suppress(wave.Error, EOFError), wave.open(io.BytesIO(audio)) as file:
        pcm: bytes = file.readframes(file.getnframes())
        return pcm
    return audio[44:]  # a header that `wave` refuses, such as one of unknown length


def _door(url: str, user: str, raw: bool, audio_format: AudioFormat) -> str:
    query = {"paced": "0"}  # it goes to a file
    if raw:
        query["input_format"] = "pcm16"
    if audio_format != "pcm16":
        query["audio_format"] = audio_format
    address = f"{_shown(url)}/ws-mobile/{quote(user, safe='')}?{urlencode(query)}"
    if not _is_address(address):
        raise TalkError(f"{url} is not the address of a gateway: write it like {DEFAULT_URL}, or https://voice.example.com.")
    return address


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _shown(url: str) -> str:
    """`ws://host:port`, whatever of it was left out."""
    if "://" not in url:
        url = f"ws://{url}"
    return url.rstrip("/").replace("http://", "ws://", 1).replace("https://", "wss://", 1)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        reason = getattr(error.os_error, "reason", None)
        return "it does not speak TLS; write ws:// or http://" if reason == "WRONG_VERSION_NUMBER" else str(error.os_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        code = error.os_error.errno or 0  # negative: not found in the DNS
        return os.strerror(code).lower() if code > 0 else (error.os_error.strerror or str(error.os_error)).lower()
    return str(error) or type(error).__name__


def _probe(content: bytes) -> tuple[float | None, str]:
    """Length and codec by FFmpeg; what the file is not for it, the gateway may still know."""
    import av  # 40 MB and a tenth of a second that not every command should pay

    try:
        with av.open(io.BytesIO(content), "r") as container:
            if not container.streams.audio:
                return None, "no audio that is known here"
            stream = container.streams.audio[0]
            context = stream.codec_context
            seconds = None
            if stream.duration is not None and stream.time_base is not None:
                seconds = float(stream.duration * stream.time_base)
            elif container.duration is not None:
                seconds = container.duration / av.time_base
            layout = _LAYOUTS.get(context.layout.name, context.layout.name)
            description = f"{context.codec.canonical_name} {context.sample_rate / 1000:g} kHz {layout}"
            return seconds, description
    except (av.FFmpegError, ValueError):
        return None, "not known here as audio"


def table(recording: Recording, result: TalkResult, output: Path) -> Table:
    """What was sent and what came back, for a person."""
    rows = Table(show_header=False, title="A spoken turn", title_justify="left", title_style="bold")
    length = f"{recording.seconds:.1f} s" if recording.seconds is not None else "length unknown"
    rows.add_row("sent", Text(f"{recording.path.name}: {length}, {recording.description}"))
    rows.add_row("came back", f"{result.received_seconds:.1f} s of speech" if result.audio else "no speech")
    if result.first_audio_ms is not None:
        rows.add_row("first audio", f"{result.first_audio_ms:.0f} ms after the recording was sent")
    if result.transcript:
        rows.add_row("it says", Text(result.transcript))
    if result.audio:
        rows.add_row("kept in", Text(str(output)))
    return rows


async def run(
    recording: Recording,
    url: str,
    user: str | None,
    audio_format: AudioFormat,
    timeout_s: float,
    output: Path,
    as_json: bool,
    token: str | None = None,
) -> int:
    """The command: talk, write the answer, print what came of it; the exit code. Raises TalkError."""
    screen = Console(stderr=True)
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
        disable=as_json or not screen.is_terminal,
    )
    with bars:
        task = bars.add_task("connecting", total=None)
        result = await talk(
            recording,
            url,
            user=user,
            audio_format=audio_format,
            timeout_s=timeout_s,
            token=token,
            report=lambda words: bars.update(task, description=words),
        )
    if result.audio:
        write_wav(output, result.audio)
    if as_json:
        print(_as_json(recording, result, output))
    else:
        Console(highlight=False).print(table(recording, result, output))
        for sentence in result.errors:
            print(f"talk: {sentence}", file=sys.stderr)
        if not result.audio and not result.errors:
            print("talk: the gateway answered without speech.", file=sys.stderr)
    return 0 if result.good else 1


def _as_json(recording: Recording, result: TalkResult, output: Path) -> str:
    return msgspec.json.encode(
        {
            "sent": str(recording.path),
            "sent_seconds": recording.seconds,
            "received": str(output) if result.audio else None,
            "received_seconds": result.received_seconds,
            "first_audio_ms": result.first_audio_ms,
            "transcript": result.transcript,
            "errors": result.errors,
        }
    ).decode()
