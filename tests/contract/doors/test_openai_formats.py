"""The openai door: formats that a client names in its session, both ways, at any time, and on any gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import av
import numpy as np
import pybase64
import pytest
from av.audio.codeccontext import AudioCodecContext
from openai import AsyncOpenAI

from runtime.embedded import EmbeddedServer
from simulator.options import Options
from tests.contract.doors.coded_stage import sound
from tests.contract.doors.openai_http_stage import Http, append
from tests.contract.doors.openai_stage import NumberedClient, Object, System, Talker, spoken, system, transcoding
from tests.contract.doors.test_openai_coded import Listener, listener
from tests.contract.doors.test_streamed_input import heard, until
from tests.integration.transcoder.test_stream import decode, stream
from tests.media.make_media import as_samples, correlation, lag, speech
from transcoder.demux.packets import Packet
from transcoder.demux.webm import WebmDemuxer

pytestmark = pytest.mark.usefixtures("redis")

SPEECH = speech("speech_jfk", 24_000, "mono").astype("<i2").tobytes()[:96_000]
ULAW: Object = {"type": "audio/pcmu"}
OPUS: Object = {"type": "audio/opus"}
PCM: Object = {"type": "audio/pcm", "rate": 24_000}
PACKETS = [event.data for event in WebmDemuxer().feed(stream("live_opus.webm")) if isinstance(event, Packet)]


@pytest.fixture
async def parley(redis_server: EmbeddedServer) -> AsyncIterator[System]:
    async with transcoding(redis_server.url), system(redis_server, Options(speed=0), gateways=2) as parley:
        yield parley


def session(input: Object | None = None, output: Object | None = None) -> Object:  # noqa: A002
    """Push to talk, with these formats."""
    audio: Object = {"input": {"turn_detection": None}}
    for way, value in (("input", input), ("output", output)):
        if value is not None:
            audio.setdefault(way, {})["format"] = value
    return {"type": "realtime", "audio": audio}


def telephone(pcm: bytes) -> bytes:
    """As it sends it: µ-law at 8 kHz."""
    coder = av.CodecContext.create("pcm_mulaw", "w")
    assert isinstance(coder, AudioCodecContext)
    coder.sample_rate, coder.layout, coder.format = 8_000, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2")[::3].reshape(1, -1).copy(), "s16", "mono")
    frame.sample_rate = 8_000
    return b"".join(bytes(packet) for packet in coder.encode(frame))


def as_pcm(ulaw: bytes) -> np.ndarray[Any, Any]:
    coder = av.CodecContext.create("pcm_mulaw", "r")
    assert isinstance(coder, AudioCodecContext)
    coder.sample_rate, coder.layout = 8_000, "mono"
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in coder.decode(av.Packet(ulaw))]).astype(float)


async def ask(client: Talker | Listener) -> None:
    await client.say("input_audio_buffer.commit")
    await client.say("response.create")


async def test_a_telephone(parley: System) -> None:
    """The protocol's own G.711, both ways: judged by the official types, and told in all that names a format."""
    sent = telephone(SPEECH)
    async with parley.talker() as client:
        created = await client.hear()
        assert created["session"]["audio"]["output"]["format"] == PCM
        await client.say("session.update", session=session(ULAW, ULAW))
        updated = (await client.until("session.updated"))[-1]["session"]
        assert (updated["audio"]["input"]["format"], updated["audio"]["output"]["format"]) == (ULAW, ULAW)
        for at in range(0, len(sent), 160):
            await client.append(sent[at : at + 160])
        await ask(client)
        events = await client.until("response.done")
        for event in events:
            if event["type"] in ("response.created", "response.done"):
                assert event["response"]["audio"]["output"]["format"] == ULAW
        answer = as_pcm(spoken(events))
        assert abs(len(answer) - len(sent)) < 80
        assert correlation(answer, as_pcm(sent)) > 0.9
    assert parley.simulator.sessions[0].config.wire["audio"]["input"]["format"] == PCM, "the model's stays what it is"  # type: ignore[index, call-overload]


async def test_from_one_format_to_another_and_back(parley: System) -> None:
    """PCM16, then Opus both ways, then PCM16 again: each turn is heard whole, and none is mixed with another."""
    wanted = decode(PACKETS, "opus")
    async with listener(parley, "model=any") as client:
        await client.ask(SPEECH)
        await client.until("response.done")
        plain = spoken(client.events)
        assert plain == SPEECH

        await client.say("session.update", session=session(OPUS, OPUS))
        await client.until("session.updated")
        assert client.events[-1]["session"]["audio"]["output"]["format"] == OPUS
        for packet in PACKETS:
            await client.say("input_audio_buffer.append", audio=pybase64.b64encode_as_string(packet))
        await ask(client)
        await client.until("response.done")
        assert heard(parley).startswith(SPEECH)
        said = heard(parley)[len(SPEECH) :]
        assert wanted.startswith(said)
        assert len(wanted) - len(said) < 200
        assert spoken(client.events) == plain, "the answer came in packets"
        answer = sound("opus", client.frames)
        assert len(answer) == len(said)
        assert correlation(as_samples(answer), as_samples(said)) > 0.9, "it was coded twice"

        client.events.clear()
        client.frames.clear()
        await client.say("session.update", session=session(PCM, PCM))
        await client.until("session.updated")
        await client.say("input_audio_buffer.append", audio=pybase64.b64encode_as_string(SPEECH))
        await ask(client)
        await client.until("response.done")
        assert not client.frames
        # What the Opus decoder held back comes before it; nothing of it is lost.
        assert spoken(client.events).endswith(SPEECH)


async def test_what_was_named_holds_on_another_gateway(parley: System) -> None:
    """For a client that comes back; what its address asks for then counts more."""
    sent = telephone(SPEECH)
    async with parley.talker() as client:
        name = (await client.hear())["session"]["id"]
        await client.say("session.update", session=session(ULAW, ULAW))
        await client.until("session.updated")
        await client.append(sent[:4_000])
        await until(lambda: len(heard(parley)) > 20_000)
        client.cut()
    async with parley.talker(f"?session={name}", gateway=1) as client:
        assert (await client.hear())["session"]["audio"]["input"]["format"] == ULAW
        await client.append(sent[4_000:])
        await ask(client)
        answer = as_pcm(spoken(await client.until("response.done")))
        assert abs(len(answer) - len(sent)) < 80
        assert correlation(answer, as_pcm(sent)) > 0.9
        client.cut()
    async with listener(parley, f"session={name}&audio=pcm16_16000") as other:
        await other.say("response.create")
        await other.until("response.created")
        wide = {"type": "audio/pcm", "rate": 16_000}
        told = {event["type"]: event for event in other.events}
        assert told["session.created"]["session"]["audio"]["output"]["format"] == wide
        assert told["response.created"]["response"]["audio"]["output"]["format"] == wide


async def test_a_client_that_numbers_goes_on_counting(parley: System) -> None:
    """Through a change of its audio, and through a cut behind it: nothing is lost, nothing is doubled."""
    sent = telephone(SPEECH)
    client = NumberedClient(parley)
    await client.connect(0)
    await client.say("session.update", session=session())
    await client.append(SPEECH)
    await client.say("session.update", session=session(ULAW))
    for at in range(0, len(sent), 1_600):
        await client.append(sent[at : at + 1_600])
        if at == 3_200:
            await client.until(lambda: client.acked == client.sent)
            await client.cut()
            await client.connect(1)
    await client.say("input_audio_buffer.commit")
    await client.until(lambda: any(event["type"] == "input_audio_buffer.committed" for _, event in client.heard))
    await client.until(lambda: client.acked == client.sent)
    assert client.sent == 4 + -(-len(sent) // 1_600)
    assert heard(parley).startswith(SPEECH)
    said = as_samples(heard(parley)[len(SPEECH) :])
    assert abs(len(said) - 3 * len(sent)) < 200, "the resampler holds some milliseconds back"
    assert correlation(said, as_samples(SPEECH)) > 0.9
    await client.close()


async def test_the_same_over_http(parley: System) -> None:
    """Named at one gateway, listened to at the other."""
    http, sent = Http(parley), telephone(SPEECH)
    async with http.listening(gateway=1) as stream_:
        name = (await stream_.hear())["session"]["id"]
        answer = await http.say(name, {"type": "session.update", "session": session(ULAW, ULAW)})
        assert (answer.status, answer.body) == (200, {"stored": 1, "errors": []})
        updated = (await stream_.until("session.updated"))[-1]["session"]
        assert updated["audio"]["output"]["format"] == ULAW
        assert (await http.post("audio", name, sent[:8_000])).body == {"bytes": 8_000}
        await http.say(name, append(sent[8_000:]), {"type": "input_audio_buffer.commit"}, {"type": "response.create"})
        heard_ = as_pcm(spoken(await stream_.until("response.done")))
        assert abs(len(heard_) - len(sent)) < 80
        assert correlation(heard_, as_pcm(sent)) > 0.9

        mixed = await http.say(name, {"type": "session.update", "session": session(OPUS)}, append(b"x"))
        assert mixed.body["stored"] == 1
        assert mixed.body["errors"][0]["error"]["param"] == "session.audio.input.format"
        assert (await http.post("audio", name, b"")).status == 409, "packets have no ends in a body"


async def test_a_format_that_there_is_not_changes_nothing(parley: System) -> None:
    async with parley.talker() as client:
        await client.hear()
        await client.say("session.update", event_id="mine", session={**session({"type": "audio/x"}), "instructions": "x"})
        error = (await client.hear())["error"]
        assert (error["code"], error["param"], error["event_id"]) == (
            "invalid_value",
            "session.audio.input.format.type",
            "mine",
        )
        assert not parley.simulator.sessions


async def test_a_client_secret_says_how_its_sessions_are_heard(parley: System) -> None:
    sent = telephone(SPEECH)
    async with AsyncOpenAI(api_key="any", base_url=f"{parley.urls[0]}/v1") as server:
        begins: Any = session(ULAW, ULAW)
        secret = await server.realtime.client_secrets.create(session=begins)
    headers = {"Authorization": f"Bearer {secret.value}"}
    async with parley.http.ws_connect(f"{parley.urls[0]}/v1/realtime?model=m", headers=headers) as ws:
        client = Talker(ws)
        assert (await client.hear())["session"]["audio"]["output"]["format"] == ULAW
        await client.append(sent)
        await ask(client)
        answer = as_pcm(spoken(await client.until("response.done")))
        assert correlation(answer, as_pcm(sent)) > 0.9
        assert lag(answer, as_pcm(sent)) <= 8
