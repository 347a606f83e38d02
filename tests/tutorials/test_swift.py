"""The tutorials' Swift needs an Apple machine. What it says on the wire does not: each request, header, query and field is
taken out of the code and said to a real gateway, and each event and field that it listens for has to be heard there."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientResponse, ClientSession, ClientTimeout
from redis.asyncio import Redis

from cli.token import mint
from runtime.embedded import EmbeddedServer
from simulator.options import Options
from tests.contract.doors.openai_stage import system, transcoding
from tests.tutorials.stage import LIMIT_S, TUTORIALS, speech

SECRET = "a-secret-of-" * 4
REQUEST = re.compile(r'request\("([A-Z]+)", "([^"]+)"\)')
FRAME = 1920

WATCH = (TUTORIALS / "watchos" / "Conversation.swift").read_text()
PHONE = (TUTORIALS / "ios" / "Conversation.swift").read_text()


class App:
    """Says what the code says, and nothing that it does not."""

    def __init__(self, code: str, http: ClientSession, server: str) -> None:
        self.code, self._http, self._server = code, http, server
        self.requests = {(method, in_braces(path)) for method, path in REQUEST.findall(code)}
        self.said: set[tuple[str, str]] = set()
        (scheme,) = re.findall(r'setValue\("(\w+) \\\(token\)", forHTTPHeaderField: "Authorization"\)', code)
        self.headers = {"Authorization": f"{scheme} {mint(SECRET, 'ann', 'swift', time.time(), 60.0)}"}

    def ask(self, end: str, id_: str = "", *, data: Any = None, **headers: str) -> Any:
        """The only request whose path ends so; with the code's own headers and query."""
        ((method, path),) = [each for each in self.requests if each[1].endswith(end)]
        self.said.add((method, path))
        query = dict.fromkeys(re.findall(r'URLQueryItem\(name: "(\w+)"', self.code), "a-conversation")
        headers |= self.headers
        if data is not None:
            behind = in_braces(self.code).partition(f'"{path}")')[2]
            headers["Content-Type"] = re.findall(r'setValue\("([^"]+)", forHTTPHeaderField: "Content-Type"\)', behind)[0]
        url = f"{self._server}{path.replace('{id}', id_)}"
        return self._http.request(method, url, params=query, headers=headers, data=data)


def in_braces(path: str) -> str:
    """What Swift puts into a text, as `{id}`."""
    return re.sub(r"\\\([^)]*\)", "{id}", path)


async def said_live(done: asyncio.Event) -> AsyncIterator[bytes]:
    """Half a second of speech as a microphone gives it, then silence until it is done."""
    pcm = speech(0.6).tobytes()
    frames = (pcm[at : at + FRAME] for at in range(0, len(pcm), FRAME))
    while not done.is_set():
        yield next(frames, bytes(FRAME))
        await asyncio.sleep(0.03)


async def events(stream: ClientResponse) -> AsyncIterator[tuple[str, str, str | None]]:
    """Name, data and id of each, read as the code reads them: by line, up to the data."""
    name, id_ = "", None
    async for raw in stream.content:
        line = raw.decode().removesuffix("\n")
        id_ = line.removeprefix("id: ") if line.startswith("id: ") else id_
        name = line.removeprefix("event: ") if line.startswith("event: ") else name
        if line.startswith("data: "):
            yield name, line.removeprefix("data: "), id_
            id_ = None


@pytest.mark.parametrize("prefix", ["id: ", "event: ", "data: "])
def test_the_watch_reads_lines_as_this_test_does(prefix: str) -> None:
    assert f'line.hasPrefix("{prefix}")' in WATCH
    assert f".dropFirst({len(prefix)})" in WATCH


async def test_the_watch(redis_server: EmbeddedServer, redis: Redis) -> None:
    """A conversation whose stream is dialled again."""
    heard: dict[str, str] = {}
    done = asyncio.Event()
    async with (
        system(redis_server, Options(), secret=SECRET) as parley,
        ClientSession(timeout=ClientTimeout(LIMIT_S)) as http,
        asyncio.TaskGroup() as tasks,
    ):
        app = App(WATCH, http, parley.urls[0])

        async def upload() -> None:
            async with app.ask("/upload", data=said_live(done)) as answer:
                assert (answer.status, await answer.text()) == (200, "OK")

        last = None
        async with app.ask("/stream") as first:
            async for name, data, id_ in events(first):
                heard.setdefault(name, data)
                last = id_ or last
                if name == "conversation_started":
                    tasks.create_task(upload())
                if name == "response_complete":
                    break
            assert '"Last-Event-ID"' in WATCH
            async with app.ask("/stream", **{"Last-Event-ID": str(last)}) as second:
                assert second.status == 200
                heard |= {name: data async for name, data, _ in events(first)}  # it is told that there is a newer one
                done.set()
                async with app.ask("/end") as ended:
                    assert await ended.json() == {"success": True}
                again = [name async for name, _, _ in events(second)]
    assert again[0] == "conversation_started"
    assert again[-1] == "conversation_ended"
    assert app.said == app.requests
    cases = {name for names in re.findall(r'case ("\w+"(?:, "\w+")*):', WATCH) for name in re.findall(r"\w+", names)}
    assert {"audio_response", "speech_started", "conversation_ended"} <= cases <= {*heard, *again}
    assert len(base64.b64decode(heard["audio_response"], validate=True)) % 2 == 0
    assert heard["transcript_complete"].startswith("I heard")


async def test_the_phone(redis_server: EmbeddedServer, redis: Redis) -> None:
    """A session whose sound is dialled again."""
    done = asyncio.Event()
    async with (
        system(redis_server, Options(), secret=SECRET) as parley,
        transcoding(redis_server.url),
        ClientSession(timeout=ClientTimeout(LIMIT_S)) as http,
    ):
        app = App(PHONE, http, parley.urls[0])
        (literal,) = re.findall(r"let wanted: \[String: Any\] = \[(.*)\]", PHONE)
        wanted = json.loads("{" + literal.replace("[String]()", "[]").replace("_", "") + "}")
        async with app.ask("/api/sessions", data=json.dumps(wanted)) as created:
            session = await created.json()
        async with http.get(f"{parley.urls[0]}/api/sessions/{session['id']}", headers=app.headers) as kept:
            told = await kept.json()
            assert {name: told[name] for name in wanted} == wanted
        assert session.keys() >= set(
            re.findall(r"let (\w+): String\n", PHONE.partition("struct Session")[2].partition("}")[0])
        )
        id_ = session["id"]
        async with app.ask("/start", id_) as started:
            assert (await started.json())["status"] == "running"

        async def talk() -> None:
            async for bit in said_live(done):
                async with app.ask("/upload_audio", id_, data=bit) as taken:
                    assert await taken.json() == {"status": "ok", "bytes_received": len(bit)}

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(talk())
            for _ in range(2):  # the second time it goes on
                async with app.ask("/stream_audio", id_) as stream:
                    assert stream.content_type == "audio/wav"
                    assert len(await stream.content.readexactly(44)) == 44
                    while not np.frombuffer(await stream.content.readexactly(FRAME), "<i2").any():
                        pass
            done.set()
        async with app.ask("/stop_stream", id_) as stopped:
            assert await stopped.json() == {"status": "stopped"}
        async with app.ask("/complete", id_) as completed:
            assert (await completed.json())["status"] == "completed"
    assert app.said == app.requests
    assert "var header = 44" in PHONE
    assert f"pcm.count == {FRAME}" in PHONE


@pytest.mark.parametrize("path", sorted(TUTORIALS.glob("*/*.swift")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_brackets_are_closed(path: Any) -> None:
    """No compiler is here; this much can be said."""
    bare = re.sub(r'"(?:\\\([^)]*\)|[^"\\])*"|//[^\n]*', "", path.read_text())
    opened: list[str] = []
    for bracket in re.findall(r"[][(){}]", bare):
        if bracket in "([{":
            opened.append(bracket)
        else:
            assert opened.pop() + bracket in ("()", "[]", "{}")
    assert opened == []
