"""The openai door over plain HTTP: what a Realtime client sees over a WebSocket, it sees over a stream and requests."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import aiohttp
import pytest
from msgspec.json import encode
from redis.asyncio import Redis

from gateway import bodies
from gateway.app import serving
from gateway.doors import openai_http
from gateway.doors.openai_batch import MAX_EVENTS
from gateway.errors import Replaced
from gateway.settings import GatewaySettings
from gateway.transports import sse
from runtime.embedded import EmbeddedServer
from simulator.answers import Echo, tone
from simulator.options import Options
from simulator.orders import silence, speech
from simulator.server import running
from streams import keys, pcm, turns
from streams.attach import presence
from streams.consumer import read
from streams.ids import EntryId
from streams.keys import SessionKeys
from streams.messages import VOID, ClientEvent
from streams.sessions import Session, Sessions
from streams.trim import trim
from tests.contract.doors.openai_http_stage import CuttingProxy, EventReader, Http, NumberedPoster, append, flowing
from tests.contract.doors.openai_stage import LIMIT_S, Object, System, bridging, coded_frame, spoken, system
from tests.contract.sdks import node

ROOT = Path(__file__).parents[3]

CUTS = int(os.environ.get("CUTS", "20"))
"""How often the lines break. `CUTS=200 make test ARGS="-k http_lines"` for a longer look."""

AT_ONCE = Options(speed=0)
LIVE = Options(answer=Echo(live=True), speed=0, record_s=600)
"""Every append comes back at once, as it was."""

PUSH_TO_TALK: Object = {
    "type": "session.update",
    "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}},
}
COMMIT: Object = {"type": "input_audio_buffer.commit"}
RESPOND: Object = {"type": "response.create"}
PATHS = ("events", "audio", "end")

pytestmark = pytest.mark.usefixtures("redis")


@pytest.fixture
async def parley(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[System]:
    async with system(redis_server, AT_ONCE, gateways=2) as parley:
        yield parley


@pytest.fixture
def http(parley: System) -> Http:
    return Http(parley)


@pytest.fixture
async def live(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[System]:
    async with system(redis_server, LIVE, gateways=2) as parley:
        yield parley


def keys_of(session: str) -> SessionKeys:
    return SessionKeys(session.removeprefix("sess_"))


async def is_over(redis: Redis, session: str) -> None:
    """Wait until nothing can be said any more."""
    async with asyncio.timeout(LIMIT_S):
        while await redis.exists(keys_of(session).pcm):  # noqa: ASYNC110 - another process: no event
            await asyncio.sleep(0.005)


async def greeted(stream: EventReader) -> str:
    """The session that has begun."""
    assert (await stream.hear())["type"] == "session.created"
    return stream.session


async def ended(stream: EventReader) -> Object:
    """How the stream ended."""
    return (await stream.hear_end())[-1]


# ---- a conversation -------------------------------------------------------------------------------------------------


async def test_a_spoken_turn(http: Http, parley: System) -> None:
    """Each request at another gateway than the stream; speech is cut anywhere within one."""
    random = Random(5)
    audio = random.randbytes(100_000)
    async with http.listening() as stream:
        session = await greeted(stream)
        assert (await http.say(session, PUSH_TO_TALK, gateway=1)).body == {"stored": 1, "errors": []}
        await stream.until("session.updated")
        cuts = sorted(random.sample(range(len(audio)), 20))
        pieces = [audio[a:b] for a, b in zip([0, *cuts], [*cuts, len(audio)], strict=True)]
        answer = await http.say(session, *map(append, pieces), COMMIT, RESPOND, gateway=1)
        assert (answer.status, answer.body) == (200, {"stored": 23, "errors": []})
        assert spoken(await stream.until("response.done")) == audio
        assert bytes(parley.simulator.sessions[0].recording.appended) == audio
        assert not [event for event in stream.log if "did" in event or event["type"].startswith("parley.")]


async def test_a_turn_in_text(http: Http) -> None:
    """One event to a request works as well as an array."""
    async with http.listening() as stream:
        session = await greeted(stream)
        content = [{"type": "input_text", "text": "Good morning."}]
        item = {"type": "message", "role": "user", "content": content}
        for event in (
            {"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}},
            {"type": "conversation.item.create", "item": item},
            RESPOND,
        ):
            body = encode(event)
            assert (await http.post("events", session, body)).body == {"stored": 1, "errors": []}
        done = (await stream.until("response.output_text.done"))[-1]
        assert done["text"]


async def test_who_speaks_while_an_answer_is_heard_interrupts_it(redis_server: EmbeddedServer) -> None:
    options = Options(speed=1, answer=tone(440, 20))
    async with system(redis_server, options, gateways=2) as parley:
        http = Http(parley)
        async with http.listening() as stream:
            session = await greeted(stream)
            await http.say(session, RESPOND)
            await stream.until("response.output_audio.delta")
            said = [{"type": "input_audio_buffer.append", "audio": audio} for audio in (speech(1.0), silence(1.0))]
            await http.say(session, *said, gateway=1)
            told = await stream.until("response.done")
            assert "input_audio_buffer.speech_started" in [event["type"] for event in told]
            assert told[-1]["response"]["status"] == "cancelled"


async def test_speech_moves_on_while_it_is_recorded(live: System) -> None:
    """Cut anywhere; what is half a sample at the end is dropped."""
    http, random = Http(live), Random(3)
    audio = random.randbytes(48_000)
    gate: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def body() -> AsyncIterator[bytes]:
        while (piece := await gate.get()) is not None:
            yield piece

    async with http.listening() as stream:
        session = await greeted(stream)
        posting = asyncio.create_task(http.post("audio", session, body(), gateway=1))
        at = 0
        while at < len(audio):
            size = random.choice((1, 2, 3, 959, 961, 4800))
            gate.put_nowait(audio[at : at + size])
            at += size
        while len(spoken(stream.log)) < len(audio):
            await stream.hear()
        assert not posting.done()
        gate.put_nowait(b"\x01")
        gate.put_nowait(None)
        answer = await posting
        assert (answer.status, answer.body) == (200, {"samples": 24_000})
        assert spoken(stream.log) == audio == bytes(live.simulator.sessions[0].recording.appended)


async def test_a_recording_is_a_turn(http: Http) -> None:
    """Streamed, then committed by an event behind it."""
    audio = Random(2).randbytes(30_000)
    async with http.listening() as stream:
        session = await greeted(stream)
        await http.say(session, PUSH_TO_TALK)
        answer = await http.post("audio", session, flowing([audio[:7], audio[7:20_001], audio[20_001:]]), gateway=1)
        assert answer.body == {"samples": 15_000}
        await http.say(session, COMMIT, RESPOND)
        assert spoken(await stream.until("response.done")) == audio


async def test_who_only_listens_costs_no_worker_anything(http: Http, parley: System, redis: Redis) -> None:
    async with http.listening() as stream:
        session = await greeted(stream)
        assert await redis.exists(keys_of(session).attach)
        assert not await redis.xrange(keys.dispatch("bridge"))
    assert not parley.simulator.sessions


async def test_something_is_seen_now_and_then(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while nothing is said."""
    assert sse.KEEPALIVE_S < 15
    monkeypatch.setattr(sse, "KEEPALIVE_S", 0.01)
    async with http.listening() as stream:
        await greeted(stream)
        before = stream.comments
        hearing = asyncio.create_task(stream.hear())
        async with asyncio.timeout(LIMIT_S):
            while stream.comments < before + 6:  # noqa: ASYNC110 - the reader says nothing of them
                await asyncio.sleep(0.005)
        hearing.cancel()


async def test_who_speaks_while_nobody_is_free_is_told(
    redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the stream, wherever the words went; and the words are kept."""
    monkeypatch.setattr("gateway.holding.NO_BRIDGE_S", 0.05)
    monkeypatch.setattr("gateway.keeper.ATTACH_RENEW_S", 0.05)
    settings = GatewaySettings(PORT=0, REDIS_URL=redis_server.url)
    async with (
        aiohttp.ClientSession() as client,
        serving(settings) as url,
        running(AT_ONCE) as simulator,
        (http := Http(System(client, [url], simulator))).listening() as stream,
    ):
        session = await greeted(stream)
        await http.say(session, PUSH_TO_TALK)
        assert (await stream.until("error"))[-1]["error"]["code"] == "no_bridge"
        async with bridging(redis_server.url, simulator.base_url):
            await stream.until("session.updated")


async def test_a_client_that_comes_while_redis_is_away_is_told_to_come_later(parley: System) -> None:
    with EmbeddedServer() as server:
        settings = GatewaySettings(PORT=0, REDIS_URL=server.url)
        async with serving(settings) as url:
            http = Http(System(parley.http, [url], parley.simulator))
            async with http.listening() as stream:
                session = await greeted(stream)
                server.kill()
                answers = [await http.refused(""), *[await http.post(path, session, b"[]") for path in PATHS]]
        for answer in answers:
            assert (answer.status, list(answer.body), answer.headers["Retry-After"]) == (503, ["error"], "1")


# ---- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60 + CUTS)
async def test_http_lines_that_break_lose_nothing_and_double_nothing(live: System) -> None:
    """Both cut at random moments; gone on with at the other gateway. Each frame arrives once, and comes back once."""
    random = Random(1)
    client = NumberedPoster(live, random)
    await client.connect(0)
    frames = 0
    for cut in range(CUTS):
        for _ in range(random.randint(1, 30)):
            client.append(coded_frame(frames))
            frames += 1
            if random.random() < 0.5:
                await asyncio.sleep(random.choice((0.0, 0.001, 0.004, 0.01)))
        await client.cut()
        await client.connect((cut + 1) % 2)
    sent = b"".join(coded_frame(number) for number in range(frames))
    await client.until(lambda: client.acked == client.sent and len(client.audio) >= len(sent))
    (session,) = live.simulator.sessions
    assert bytes(session.recording.appended) == sent
    assert client.audio == sent
    dids = [EntryId.parse(did) for did, _ in client.heard]
    assert dids == sorted(set(dids))
    assert not client.replies
    assert client.posts
    await client.close()


@pytest.mark.timeout(60 + CUTS)
async def test_http_lines_that_are_cut_at_any_byte(live: System, caplog: pytest.LogCaptureFixture) -> None:
    """Of a request, of its answer, of the stream: the same holds, and nobody calls it an error."""
    random = Random(4)
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(CuttingProxy.before(url, random)) for url in live.urls]
        client = NumberedPoster(System(live.http, [url for _, url in proxies], live.simulator), random)
        await client.connect(0)
        for proxy, _ in proxies:
            proxy.cutting = True
        frames, dials = 0, 0
        while sum(proxy.cuts for proxy, _ in proxies) < 2 * CUTS:
            client.append(coded_frame(frames))
            frames += 1
            await asyncio.sleep(0.002)
            if client.is_broken:
                dials += 1
                await client.redial(dials % 2)
        for proxy, _ in proxies:
            proxy.cutting = False
        sent = b"".join(coded_frame(number) for number in range(frames))
        while client.acked < client.sent or len(client.audio) < len(sent):
            if client.is_broken:
                await client.redial(0)
            await client.until(lambda: client.is_broken or (client.acked == client.sent and len(client.audio) >= len(sent)))
        (session,) = live.simulator.sessions
        assert bytes(session.recording.appended) == sent
        assert client.audio == sent
        assert dials
        await client.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_only_the_next_number_is_taken(live: System) -> None:
    """What comes again is done; where something is missing, what comes before that is stored, and nothing behind it."""
    http = Http(live)
    async with http.listening("&parley=1") as stream:
        session = await greeted(stream)

        async def say(*numbers: int, gateway: int = 0) -> tuple[int, Object]:
            events = [append(coded_frame(number), useq=number) for number in numbers]
            answer = await http.say(session, *events, gateway=gateway)
            return answer.status, answer.body

        assert await say(1, 2) == (200, {"acked": 2, "next_useq": 3, "errors": []})
        assert await say(1, 2, 3, gateway=1) == (200, {"acked": 3, "next_useq": 4, "errors": []})
        assert await say(5, 6) == (409, {"want": 4, "errors": []})
        assert await say(3, 4, 6) == (409, {"want": 5, "errors": []})
        assert await say(1, gateway=1) == (200, {"acked": 4, "next_useq": 5, "errors": []})
        assert await say() == (200, {"acked": 4, "next_useq": 5, "errors": []})
        frames = b"".join(map(coded_frame, (1, 2, 3, 4)))
        while len(spoken(stream.log)) < len(frames):
            await stream.hear()
        assert bytes(live.simulator.sessions[0].recording.appended) == frames


async def test_requests_that_overlap_never_double(live: System) -> None:
    """However many say the same at once, and however it is cut."""
    http, random = Http(live), Random(7)
    async with http.listening("&parley=1") as stream:
        session = await greeted(stream)
        events = [append(coded_frame(number), useq=number) for number in range(1, 201)]
        for _ in range(5):
            parts = [events[: random.randint(1, len(events))] for _ in range(10)]
            answers = await asyncio.gather(*(http.say(session, *part, gateway=n % 2) for n, part in enumerate(parts)))
            assert {answer.status for answer in answers} <= {200, 409}
        assert (await http.say(session, *events)).body == {"acked": 200, "next_useq": 201, "errors": []}
        frames = b"".join(map(coded_frame, range(1, 201)))
        while len(spoken(stream.log)) < len(frames):
            await stream.hear()
        assert bytes(live.simulator.sessions[0].recording.appended) == frames


async def test_a_numbered_mistake_is_told_twice_and_has_used_up_its_number(live: System, redis: Redis) -> None:
    """In the answer and on the stream, wherever that is; sent again, it is told no more."""
    http = Http(live)
    bad: Object = {"type": "input_audio_buffer.append", "audio": "!", "useq": 2, "event_id": "mine"}
    async with http.listening("&parley=1") as stream:
        session = await greeted(stream)
        events = (append(coded_frame(1), useq=1), bad, {"type": "response.create"}, append(coded_frame(3), useq=3))
        answer = await http.say(session, *events, gateway=1)
        assert answer.status == 200
        assert answer.body["next_useq"] == 4
        first, second = answer.body["errors"]
        assert (first["useq"], first["error"]["code"], first["error"]["event_id"]) == (2, "invalid_value", "mine")
        assert (second["index"], second["error"]["param"]) == (2, "useq")
        told = [(await stream.until("error"))[-1] for _ in range(2)]
        assert [event["error"] for event in told] == [first["error"], second["error"]]
        assert (await http.say(session, bad)).body == {"acked": 3, "next_useq": 4, "errors": []}
        messages = [entry.message for entry in await read(redis, keys_of(session).pcm, pcm.decoder)]
        assert [message.type for message in messages if isinstance(message, ClientEvent)] == [VOID]


async def test_mistakes_are_told_and_the_rest_is_taken(http: Http) -> None:
    """Of a client that does not number: by their place in the request."""
    async with http.listening() as stream:
        session = await greeted(stream)
        answer = await http.say(session, {"type": "no.such.type"}, PUSH_TO_TALK, {"type": "parley.received", "did": "1-1"})
        assert (answer.status, answer.body["stored"]) == (200, 1)
        assert [error["index"] for error in answer.body["errors"]] == [0, 2]
        told = await stream.until("session.updated")
        assert [event["error"]["code"] for event in told if event["type"] == "error"] == ["invalid_event"] * 2


async def test_many_mistakes_are_told_in_the_answer_only(http: Http) -> None:
    async with http.listening() as stream:
        session = await greeted(stream)
        answer = await http.post("events", session, b"[" + b"1," * 99 + b"1]")
        assert (answer.body["stored"], len(answer.body["errors"])) == (0, 100)
        await http.say(session, PUSH_TO_TALK)
        told = await stream.until("session.updated")
        assert [event["type"] for event in told].count("error") == openai_http.MAX_TOLD


async def test_a_numbered_session_takes_no_bare_speech(http: Http) -> None:
    async with http.listening("&parley=1") as stream:
        session = await greeted(stream)
        answer = await http.post("audio", session, b"\0\0" * 100)
        assert answer.status == 409
        assert "numbered" in answer.body["error"]


async def test_what_was_received_and_played_is_kept(live: System, redis: Redis) -> None:
    """Whichever gateway is told; never beyond what was said, and never back."""
    http = Http(live)
    async with http.listening("&parley=1") as stream:
        name = await greeted(stream)
        session = Session(name.removeprefix("sess_"), "")
        for useq in (1, 2):
            await http.say(name, append(coded_frame(useq), useq=useq))
            await stream.until("response.output_audio.delta")
        dids = [event["did"] for event in stream.log if event["type"] == "response.output_audio.delta"]
        for said, kept in ((dids[0], dids[0]), (dids[1], dids[1]), (dids[0], dids[1]), ("9999999999999-1", dids[1])):
            events = [{"type": f"parley.{what}", "did": said} for what in ("received", "played")]
            assert (await http.say(name, *events, gateway=1)).body == {"acked": 2, "next_useq": 3, "errors": []}
            assert str(await Sessions(redis).cursor(session, "played")) == kept
        assert await Sessions(redis).cursor(session, "arrived") == EntryId.parse(dids[1])


# ---- streams that break, end, and begin again -----------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["", "&parley=1"])
async def test_an_event_source_goes_on_by_itself(live: System, extension: str) -> None:
    """It dials the same address again, with the last id that it has seen."""
    http = Http(live)

    def frame(number: int) -> Object:
        return append(coded_frame(number), **({"useq": number} if extension else {}))

    async with http.listening(extension) as stream:
        session = await greeted(stream)
        stream.cut()
    async with http.listening(extension, 1, stream.last_id) as stream:
        assert (await stream.hear())["type"] == "parley.resumed", "also before anything was said"
        await http.say(session, frame(1))
        await stream.until("response.output_audio.delta")
        stream.cut()
    await http.say(session, frame(2), frame(3))
    async with http.listening(extension, 0, stream.last_id) as again:
        resumed = await again.hear()
        assert (resumed["type"], f"sess_{resumed['session']}") == ("parley.resumed", session)
        assert stream.last_id == f"{resumed['session']}/{resumed['after']}"
        while len(spoken(again.log)) < 2 * len(coded_frame(0)):
            await again.hear()
        assert spoken(again.log) == coded_frame(2) + coded_frame(3)


async def test_what_is_not_there_any_more_is_announced(live: System, redis: Redis) -> None:
    http = Http(live)
    async with http.listening("&parley=1") as stream:
        session = await greeted(stream)
        for useq in range(1, 6):
            await http.say(session, append(coded_frame(useq), useq=useq))
            await stream.until("response.output_audio.delta")
    dids = [EntryId.parse(event["did"]) for event in stream.log if "did" in event]
    await trim(redis, keys_of(session).down, dids[4])
    async with http.listening(f"&parley=1&session={session}&after={dids[2]}", gateway=1) as stream:
        assert (await stream.hear())["type"] == "parley.resumed"
        assert await stream.hear() == {"type": "parley.resync", "after": str(dids[2]), "from": str(dids[5])}
        assert (await stream.hear())["did"] == str(dids[5])


async def test_the_newest_stream_has_the_session(http: Http) -> None:
    """The older one ends, and says that it is not to be dialled again."""
    async with http.listening() as older:
        session = await greeted(older)
        async with http.listening(f"&session={session}", gateway=1) as newer:
            assert (await newer.hear())["type"] == "parley.resumed"
            closed = await ended(older)
            assert (closed["type"], closed["code"]) == ("parley.closed", Replaced.close_code)
            again = await http.refused("?model=any", last_id=older.last_id)  # as an EventSource asks, whatever it was told
            assert again.status == 204
            await http.say(session, {"type": "input_audio_buffer.clear"})
            await newer.until("input_audio_buffer.cleared")  # it was left in peace


async def test_a_session_goes_on_over_the_other_transport(live: System) -> None:
    """From a WebSocket to a stream, numbers and all."""
    http = Http(live)
    async with live.talker("?parley=1") as client:
        session = (await client.hear())["session"]["id"]
        await client.append(coded_frame(1), useq=1)
        did = (await client.until("response.output_audio.delta"))[-1]["did"]
        client.cut()
    async with http.listening(f"&parley=1&session={session}&after={did}", gateway=1) as stream:
        assert (await stream.hear())["next_useq"] == 2
        await http.say(session, append(coded_frame(2), useq=2))
        assert spoken(await stream.until("response.output_audio.delta")) == coded_frame(2)


async def test_an_end_ends_it(http: Http, redis: Redis) -> None:
    """Behind all that was said, once; who redials then is told so, once and for all."""
    async with http.listening() as stream:
        session = await greeted(stream)
        await http.say(session, PUSH_TO_TALK)
        await stream.until("session.updated")
        for gateway in (1, 0):
            answer = await http.post("end", session, gateway=gateway)
            assert (answer.status, answer.body) == (200, {"ended": True})
        closed = await ended(stream)
        assert (closed["type"], closed["code"]) == ("parley.closed", 1000)
    await is_over(redis, session)
    assert (await http.refused("?model=any", last_id=stream.last_id)).status == 204
    gone = await http.refused(f"?session={session}")
    assert (gone.status, list(gone.body)) == (404, ["error"])
    assert (await http.post("end", session)).body == {"ended": True}
    for path in ("events", "audio"):
        assert (await http.post(path, session, b"[]")).status == 404


async def test_an_end_before_the_first_word(http: Http, parley: System, redis: Redis) -> None:
    async with http.listening() as stream:
        session = await greeted(stream)
        assert (await http.post("end", session, gateway=1)).body == {"ended": True}
        closed = await ended(stream)
        assert (closed["type"], closed["code"]) == ("parley.closed", 1000)
    await is_over(redis, session)
    assert not parley.simulator.sessions


async def test_a_session_waits_for_its_stream(http: Http, redis: Redis) -> None:
    """Detached as after any other drop; what is said meanwhile is kept."""
    async with http.listening("&parley=1") as stream:
        session = await greeted(stream)
        await http.say(session, {**PUSH_TO_TALK, "useq": 1})
        await stream.until("session.updated")
        stream.cut()
    async with asyncio.timeout(LIMIT_S):
        while await redis.exists(keys_of(session).attach):  # noqa: ASYNC110 - another task: no event
            await asyncio.sleep(0.005)
    events = (append(b"\1\2" * 4800, useq=2), {**COMMIT, "useq": 3}, {**RESPOND, "useq": 4})
    assert (await http.say(session, *events)).body == {"acked": 4, "next_useq": 5, "errors": []}
    async with http.listening(f"&parley=1&session={session}", gateway=1) as stream:
        assert spoken(await stream.until("response.done")) == b"\1\2" * 4800


# ---- what is refused ------------------------------------------------------------------------------------------------


async def test_another_users_session_is_not_there(http: Http, redis: Redis) -> None:
    """And nobody who asks for it disturbs whoever has it."""
    for opened in (turns.Opened(user="somebody", door="openai"), turns.Opened(user="anonymous", door="mobile")):
        session = (await Sessions(redis).create(opened, "theirs")).session
        for asked in (await http.refused(f"?session={session.sid}"), *[await http.post(p, session.sid) for p in PATHS]):
            assert (asked.status, list(asked.body)) == (404, ["error"])
        assert (await http.refused("", last_id=f"{session.sid}/1-1")).status == 204
        assert not (await presence(redis, session)).attached
        assert await redis.exists(session.keys.pcm)


async def test_another_users_session_is_not_there_over_a_websocket(parley: System, redis: Redis) -> None:
    session = (await Sessions(redis).create(turns.Opened(user="somebody", door="openai"), "theirs")).session
    async with parley.talker(f"?session={session.sid}") as client:
        assert (await client.hear())["error"]["code"] == "session_not_found"
        assert await client.hear_close() == 4404
    assert not (await presence(redis, session)).attached


@pytest.mark.parametrize("session", ["", "sess_none", "%00", "%ff", "a{b}c", "%0a", "x" * 5000, "*"])
async def test_a_session_that_never_was(http: Http, session: str) -> None:
    for path in ("events", "audio"):
        assert (await http.post(path, session, b"{}")).status == 404
    assert (await http.refused(f"?session={session or 'none'}")).status == 404


@pytest.mark.parametrize("last_id", ["none/1-1", "/", "0" * 32 + "/x", "0" * 32 + "/1--1"])
async def test_an_id_of_a_session_that_never_was(http: Http, last_id: str) -> None:
    assert (await http.refused("", last_id=last_id)).status == 204


@pytest.mark.parametrize("did", ["x", "1--1", "99999999999999999999999-1", "%00"])
async def test_a_place_that_cannot_be_read_is_the_beginning(http: Http, did: str) -> None:
    async with http.listening("&parley=1") as stream:
        session = await greeted(stream)
    async with http.listening(f"&parley=1&session={session}&after={did}") as stream:
        assert (await stream.hear())["after"] == "0-1"


NO_EVENTS = [b"", b"hello", b"{", b"[", b"[{]", b"5", b'"text"', b"null", b"\xff", b"{}{}", b"[" * 100_000, b'{"a":' * 9000]


@pytest.mark.parametrize("body", NO_EVENTS, ids=lambda body: str(body[:8]))
async def test_what_is_no_json_is_refused(http: Http, body: bytes) -> None:
    async with http.listening() as stream:
        answer = await http.post("events", await greeted(stream), body)
        assert (answer.status, list(answer.body)) == (400, ["error"])


async def test_too_much_at_once_is_refused(http: Http) -> None:
    async with http.listening() as stream:
        session = await greeted(stream)
        assert (await http.post("events", session, b"[" + b"1," * MAX_EVENTS + b"1]")).status == 413
        assert (await http.post("events", session, bytes(openai_http.MAX_BATCH_BYTES + 1))).status == 413
        large = b'{"type":"input_audio_buffer.append","audio":"%b"}' % (b"A" * (7 << 20))
        assert (await http.post("events", session, large)).body == {"stored": 1, "errors": []}
        assert (await http.post("events", session, large)).status == 429  # faster than anybody speaks


async def test_a_coded_body_is_refused(http: Http) -> None:
    async with http.listening() as stream:
        session = await greeted(stream)
        for path in ("events", "audio"):
            assert (await http.post(path, session, b"[]", Content_Encoding="gzip")).status == 415


async def test_a_thousand_malformed_requests_end_nothing(http: Http) -> None:
    """Bytes changed, cut out and doubled in what is right: answered, every one, and the session works as before."""
    random = Random(11)
    right = encode(
        [PUSH_TO_TALK, append(b"\0\0" * 20, event_id="e"), COMMIT, RESPOND, {"type": "parley.played", "did": "1-1"}]
    )
    async with http.listening("&parley=1") as stream:
        session = await greeted(stream)

        async def send() -> int:
            body = bytearray(right)
            for _ in range(random.randint(1, 4)):
                at = random.randrange(len(body))
                body[at : at + random.randint(0, 9)] = random.choice(
                    (b"", random.randbytes(3), b'"', b"[", b"\\ud800", b"1e999")
                )
            return (await http.post("events", session, bytes(body), gateway=random.randrange(2))).status

        for _ in range(100):
            assert set(await asyncio.gather(*(send() for _ in range(10)))) <= {200, 400}
        await http.say(session, {**PUSH_TO_TALK, "useq": 1})
        await stream.until("session.updated")


async def test_who_comes_while_a_gateway_stops_is_sent_away(redis_server: EmbeddedServer) -> None:
    """The stream says to come back, and its session is at the other gateway."""
    async with system(redis_server, AT_ONCE, gateways=2) as parley:
        http = Http(parley)
        async with http.listening(gateway=1) as stream:
            session = await greeted(stream)
            await http.say(session, PUSH_TO_TALK)
            stopping = asyncio.create_task(parley.stop_gateway(1))
            told = await stream.hear_end()
            assert (told[-1]["type"], told[-1]["code"]) == ("parley.closed", 1012)
            await stopping
        async with http.listening(last_id=stream.last_id) as stream:
            assert (await stream.hear())["type"] == "parley.resumed"
            await http.say(session, append(b"\1\2" * 4800), COMMIT, RESPOND)
            assert spoken(await stream.until("response.done")) == b"\1\2" * 4800


async def test_a_recording_ends_with_its_gateway(redis_server: EmbeddedServer, caplog: pytest.LogCaptureFixture) -> None:
    """Also while its microphone is silent; what was said is stored, and goes on at another one."""
    async with system(redis_server, AT_ONCE, gateways=2) as parley:
        http = Http(parley)
        async with http.listening() as stream:
            session = await greeted(stream)
            await http.say(session, PUSH_TO_TALK)
            await stream.until("session.updated")
            silent = asyncio.Event()

            async def recording() -> AsyncIterator[bytes]:
                yield b"\1\2" * 4800
                silent.set()
                await asyncio.sleep(2 * LIMIT_S)

            speaking = asyncio.create_task(http.post("audio", session, recording(), gateway=1))
            await silent.wait()
            async with asyncio.timeout(LIMIT_S):
                while len(parley.simulator.sessions[0].recording.appended) < 9600:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
                await parley.stop_gateway(1)
                answer = await speaking
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            await http.say(session, COMMIT, RESPOND)
            assert spoken(await stream.until("response.done")) == b"\1\2" * 4800
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_session_that_nobody_spoke_in_ends_with_its_grace_time(redis_server: EmbeddedServer, redis: Redis) -> None:
    """No worker knows of it."""
    async with system(redis_server, AT_ONCE, grace_s=0.2) as parley:
        http = Http(parley)
        async with http.listening() as stream:
            session = await greeted(stream)
        async with asyncio.timeout(LIMIT_S):
            while await redis.exists(keys_of(session).down):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await http.refused(f"?session={session}")).status == 404


async def test_one_that_is_listened_to_again_or_spoken_in_stays(http: Http, redis: Redis) -> None:
    async def runs_out(session: str) -> None:
        """Nobody listens, and it has its grace time."""
        async with asyncio.timeout(LIMIT_S):
            while await redis.pttl(keys_of(session).down) > 60_000:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async with http.listening() as stream:
        session = await greeted(stream)
    await runs_out(session)
    async with http.listening(last_id=stream.last_id) as stream:
        assert (await stream.hear())["type"] == "parley.resumed"
        assert await redis.pttl(keys_of(session).down) > 60_000
    await runs_out(session)
    await http.say(session, PUSH_TO_TALK)
    assert await redis.pttl(keys_of(session).down) > 60_000


async def test_who_is_replaced_does_not_end_the_session_of_the_newer_one(redis_server: EmbeddedServer, redis: Redis) -> None:
    """Though nobody has spoken in it yet."""
    async with system(redis_server, AT_ONCE, grace_s=0.4) as parley:
        http = Http(parley)
        async with http.listening() as older:
            session = await greeted(older)
            async with http.listening(last_id=older.last_id) as newer:
                assert (await older.hear_end())[-1]["code"] == Replaced.close_code
                assert (await newer.hear())["type"] == "parley.resumed"
                assert await redis.pttl(SessionKeys(session.removeprefix("sess_")).down) > 60_000


async def test_requests_that_are_sent_slowly_do_not_fill_the_memory(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of one caller's is counted, until it is answered."""
    monkeypatch.setattr(bodies, "MAX_HELD_BYTES_PER_CALLER", 64 << 10)
    async with http.listening() as stream:
        session = await greeted(stream)
        hold = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b" " * (40 << 10)
            await hold.wait()
            yield encode(PUSH_TO_TALK)

        both = [asyncio.create_task(http.post("events", session, slow())) for _ in range(2)]
        (refused,), (waiting,) = await asyncio.wait(both, timeout=LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        assert (refused.result().status, refused.result().headers["Retry-After"]) == (503, "3")
        hold.set()
        assert (await waiting).status == 200
        assert (await http.post("events", session, b" " * (60 << 10) + encode(PUSH_TO_TALK))).status == 200


CONVERSATION = re.search(r"^```sh\n(P=.*?)^```", (ROOT / "docs/client-protocols.md").read_text(), re.MULTILINE | re.DOTALL)

if shutil.which("curl") or node.is_required():

    async def test_the_documented_conversation(parley: System, tmp_path: Path) -> None:
        """Word for word, by curl."""
        assert CONVERSATION is not None
        script = CONVERSATION[1].replace("http://127.0.0.1:8000", parley.urls[1])
        shell = await asyncio.create_subprocess_exec(
            "bash", "-euc", script, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(2 * LIMIT_S):
            out = (await shell.communicate())[0].decode()
        assert shell.returncode == 0
        samples = (ROOT / "simulator/voice/hello.wav").stat().st_size // 2 - 22
        assert out.startswith(f'{{"stored":3,"errors":[]}}{{"samples":{samples}}}{{"stored":2,"errors":[]}}{{"ended":true}}')
        assert '"type":"parley.closed","code":1000' in out
        assert len(parley.simulator.sessions[0].recording.appended) == 2 * samples
