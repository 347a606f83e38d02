"""`parley sessions`, `parley tail`, `parley listen` against gateways that run."""

from __future__ import annotations

import asyncio
import io
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from rich.console import Console

from cli.errors import OperateError
from cli.operate import listen, sessions, tail
from cli.operate.sessions import SessionsOptions
from cli.operate.timeline import Side, Timeline
from runtime.embedded import EmbeddedServer
from simulator.answers import words
from simulator.options import Options
from tests.contract.doors.api_stage import Parley, audio, parley
from tests.contract.doors.openai_stage import LIMIT_S, Talker
from tests.contract.doors.test_admin import ADMIN, LISTEN, RIGHTS
from tests.contract.doors.test_api import closes, speaks

SAYS = Options(speed=0, transcription_delay_s=0, answer=words("Good evening."))


@asynccontextmanager
async def operated(redis: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Parley, Talker, str]]:
    """Two gateways, a client that has spoken, its session; and the keys in the environment, as an operator has them."""
    async with parley(redis, SAYS, **RIGHTS) as whole, whole.talker() as client:
        sid = await speaks(client)
        monkeypatch.setenv("PARLEY_ADMIN_KEYS", f"{ADMIN} the-old-one")
        monkeypatch.setenv("PARLEY_LISTEN_KEYS", LISTEN)
        yield whole, client, sid


def asked(url: str, **more: object) -> SessionsOptions:
    nothing = {"user": None, "limit": 50, "as_json": False, "watch": False, "gateways": False}
    return SessionsOptions(**{"url": url, **nothing, "end": None, "drain": None, "take": None, **more})  # type: ignore[arg-type]


class Forwarder:
    """One address in front of a gateway, and then of another one."""

    def __init__(self, to: str) -> None:
        self.to: str | None = to
        """None: nobody is there, and who dials is hung up on"""
        self.url = ""
        self._lines: set[asyncio.StreamWriter] = set()

    def leave(self) -> None:
        self.to = None
        for line in self._lines:
            line.transport.abort()

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.to is None:
            writer.transport.abort()
            return
        address = urlsplit(self.to)
        there, back = await asyncio.open_connection(address.hostname, address.port)
        ours = {writer, back}
        self._lines |= ours
        try:
            async with asyncio.TaskGroup() as group:
                for source, sink in ((reader, back), (there, writer)):
                    group.create_task(self._copy(source, sink))
        except* OSError:
            pass
        finally:
            self._lines -= ours

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
        sink.transport.abort()


@asynccontextmanager
async def forwarding(to: str) -> AsyncIterator[Forwarder]:
    forwarder = Forwarder(to)
    async with await asyncio.start_server(forwarder.forward, "127.0.0.1", 0) as server:
        forwarder.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield forwarder
        forwarder.leave()


async def turn(client: Talker) -> None:
    await client.say("input_audio_buffer.append", audio=audio(400))
    await client.say("input_audio_buffer.commit")
    await client.say("response.create")
    await client.until("response.done")


async def looks_on(redis: Redis, sid: str, least: int = 2, most: int = 9) -> None:
    """Until so many read what the client says: its bridge, and a gateway for each operator."""
    async with asyncio.timeout(LIMIT_S):
        while not least <= (await redis.pubsub_shardnumsub(f"parley:{{{sid}}}:pcm"))[0][1] <= most:  # noqa: ASYNC110 - a server's
            await asyncio.sleep(0.01)


async def test_sessions_are_shown_and_ended(
    redis: Redis, redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with operated(redis_server, monkeypatch) as (whole, client, sid):
        url, shown = whole.urls[1], io.StringIO()
        await sessions.run(asked(url), Console(file=shown))
        assert sid in shown.getvalue()
        assert "1 of 1 live sessions" in shown.getvalue()
        await sessions.run(asked(url, as_json=True))
        told = json.loads(capsys.readouterr().out)
        assert [each["state"] for each in told["sessions"]] == ["live"]
        await sessions.run(asked(url, gateways=True), Console(file=shown))
        assert "takes clients" in shown.getvalue()
        await sessions.run(asked(url, end=told["sessions"][0]["user"]), Console(file=shown))
        assert await closes(client) == 1000


async def test_a_session_is_followed_without_its_sound(
    redis: Redis, redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its words only for who may, and who asks for them."""
    async with operated(redis_server, monkeypatch) as (whole, client, sid):
        following = [
            asyncio.create_task(tail.run(sid, whole.urls[0], words=False, as_json=False)),
            asyncio.create_task(tail.run(sid, whole.urls[1], words=True, as_json=True)),
        ]
        await looks_on(redis, sid)
        async with asyncio.timeout(LIMIT_S):
            while "response.done" not in (said := capsys.readouterr().out):  # what each shows first is the latest entry
                await turn(client)
        await turn(client)
        await sessions.run(asked(whole.urls[0], end=sid), Console(file=io.StringIO()))
        assert await asyncio.wait_for(asyncio.gather(*following), LIMIT_S) == [0, 0]
        said += capsys.readouterr().out
        lines = said.splitlines()
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        told = [line for line in lines if not line.startswith("{")]
        assert any("◀ response.done" in line for line in told)
        assert any("s of sound" in line for line in told)
        assert not any("evening" in line for line in told)
        assert told[-1].endswith("ended · reason ended_by_operator")
        assert any("evening" in json.dumps(each) for each in entries)
        assert all("audio" not in each for each in entries)


@pytest.mark.parametrize("mixed", [False, True])
async def test_both_voices_come_into_a_file(
    redis: Redis, redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, mixed: bool
) -> None:
    """Also where the answer is longer than the session: it is heard to its end."""
    output = tmp_path / "session.wav"
    async with operated(redis_server, monkeypatch) as (whole, client, sid):
        listening = asyncio.create_task(listen.run(sid, whole.urls[1], output, mixed=mixed, seconds=None))
        await looks_on(redis, sid)
        await turn(client)
        await sessions.run(asked(whole.urls[0], end=sid), Console(file=io.StringIO()))
        assert await asyncio.wait_for(listening, LIMIT_S) == 0
    with wave.open(str(output)) as file:
        assert (file.getnchannels(), file.getframerate()) == (1 if mixed else 2, 24_000)
        samples = memoryview(file.readframes(file.getnframes())).cast("h")
    said = memoryview(bytes(range(48)) * 400).cast("h").tolist()
    if not mixed:
        assert said == [sample for sample in samples[::2].tolist() if sample][: len(said)]
        assert any(samples[1::2].tolist())
    assert any(samples.tolist())


async def test_what_does_not_work_is_a_sentence(
    redis: Redis, redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with operated(redis_server, monkeypatch) as (whole, _, sid):
        url, nowhere = whole.urls[0], tmp_path / "no" / "folder.wav"
        with pytest.raises(OperateError, match="no live session of the user 'nobody'"):
            await tail.run("nobody", url, words=False, as_json=False)
        with pytest.raises(OperateError, match="There is no gateway of this name"):
            await sessions.run(asked(url, drain="nobody:1"))
        with pytest.raises(OperateError, match="cannot be written"):
            await listen.run(sid, url, nowhere, mixed=False, seconds=0.1)
        with pytest.raises(OperateError, match="start one, or name another"):
            await sessions.run(asked("http://127.0.0.1:1"))
        monkeypatch.setenv("PARLEY_LISTEN_KEYS", "")
        with pytest.raises(OperateError, match="PARLEY_LISTEN_KEYS is not set"):
            await tail.run(sid, url, words=True, as_json=False)
        monkeypatch.setenv("PARLEY_ADMIN_KEYS", "wrong")
        with pytest.raises(OperateError, match="This is for operators"):
            await sessions.run(asked(url))


async def test_a_gateway_that_goes_away_is_dialled_again(
    redis: Redis,
    redis_server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Another one behind the same address tells what happens from then on, once; what was said meanwhile is silence."""
    output, out, err = tmp_path / "session.wav", "", ""
    taped = list[int]()

    class Tape(Timeline):
        def put(self, side: Side, pcm: bytes, now: float, item: str | None = None, start_ms: int = 0) -> None:
            super().put(side, pcm, now, item, start_ms)
            taped.append(len(pcm) if side == "user" else 0)

    def is_told() -> bool:
        nonlocal out, err
        said = capsys.readouterr()
        out, err = out + said.out, err + said.err
        return "response.done" in out and sum(taped) >= 400 * 48

    monkeypatch.setattr(listen, "Timeline", Tape)
    async with (
        operated(redis_server, monkeypatch) as (whole, client, sid),
        forwarding(whole.urls[0]) as first,
        forwarding(whole.urls[1]) as second,
    ):
        following = [
            asyncio.create_task(tail.run(sid, first.url, words=False, as_json=True)),
            asyncio.create_task(listen.run(sid, second.url, output, mixed=False, seconds=None)),
        ]
        await looks_on(redis, sid, least=3)
        await turn(client)
        async with asyncio.timeout(LIMIT_S):
            while not is_told():  # noqa: ASYNC110 - two commands' own
                await asyncio.sleep(0.01)
        first.leave()
        second.leave()
        await looks_on(redis, sid, least=1, most=1)
        await turn(client)  # nobody looks on
        first.to, second.to = whole.urls[1], whole.urls[0]
        await looks_on(redis, sid, least=3)
        await turn(client)
        await sessions.run(asked(whole.urls[0], end=sid), Console(file=io.StringIO()))
        assert await asyncio.wait_for(asyncio.gather(*following), LIMIT_S) == [0, 0]
    is_told()
    entries = [json.loads(line) for line in out.splitlines()]
    assert len(entries) == len({(each["side"], each["id"]) for each in entries})
    assert sum(each.get("type") == "response.done" for each in entries) >= 2
    assert err.count("It is dialled again") == 2
    assert err.count("The line is there again") == 2
    with wave.open(str(output)) as file:
        samples = memoryview(file.readframes(file.getnframes())).cast("h").tolist()[::2]
    one = memoryview(bytes(range(48)) * 400).cast("h").tolist()
    heard = [sample for sample in samples if sample]
    assert heard == 2 * [sample for sample in one if sample]
