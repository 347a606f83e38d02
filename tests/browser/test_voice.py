"""`/voice-realtime` in a real Chromium: a person's turn is spoken, answered, heard and shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.app import serving
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer
from runtime.ports import HeldPorts
from simulator.answers import Answer, Echo, tone
from simulator.options import Options
from simulator.session import Session
from tests.browser.stage import (
    LIMIT_MS,
    MICROPHONE_RATE,
    PHONE,
    Samples,
    Visit,
    chromium,
    likeness,
    load,
    read_wav,
    silence,
    visit,
    write_wav,
)
from tests.contract.doors.openai_stage import System, system, transcoding
from tests.contract.doors.test_auth import NEW, OTHERS, token

SPEECH = "speech_espeak.flac"

ECHO = Echo()

TRANSPORTS = ("websocket", "http")
"""The choices of the page, by their value."""

pytestmark = pytest.mark.usefixtures("redis")


UNPROCESSED = """() => {
  const devices = navigator.mediaDevices;
  const original = devices.getUserMedia.bind(devices);
  devices.getUserMedia = (asked) => {
    window.asked = asked;
    return original({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
  };
}"""
"""What the browser does to a voice before a page gets it would hide what the page does: it is asked not to."""

LATENESS = """() => {
  let due = performance.now() + 20;
  window.lateMs = 0;
  setInterval(() => {
    window.lateMs = Math.max(window.lateMs, performance.now() - due);
    due = performance.now() + 20;
  }, 20);
}"""
"""By how much the page's own timers come later than they should, at worst: on a busy machine what it hears of its player, or
tells its recorder, is as late."""


def words(seconds: float) -> Samples:
    """So much of somebody speaking."""
    return load(SPEECH, MICROPHONE_RATE)[: round(seconds * MICROPHONE_RATE)]


@asynccontextmanager
async def talking(
    redis: EmbeddedServer,
    path: str,
    microphone: Path | None = None,
    *,
    think_s: float = 0.0,
    answer: Answer = ECHO,
    refuse: bool = False,
    secret: str | None = None,
    **options: Any,
) -> AsyncIterator[tuple[System, Visit]]:
    """The page, open, in front of everything."""
    async with (
        system(redis, Options(think_s=think_s, answer=answer), transcription="gpt-transcribe", secret=secret) as parley,
        chromium(path, microphone, refuse=refuse) as browser,
        visit(browser, f"{parley.urls[0]}/voice-realtime", **options) as page,
    ):
        yield parley, page


def is_said(speech: Samples, voice: Samples) -> bool:
    """Half a second at a time: where a loaded machine does not listen for a moment, one of them is not whole."""
    pieces = np.array_split(speech, len(speech) // 12_000)
    return float(np.median([likeness(voice, piece) for piece in pieces])) > 0.98


def resembles(speech: Samples, voice: Samples) -> bool:
    """As `is_said`, of a voice that Opus has coded."""
    pieces = np.array_split(speech, max(1, len(speech) // 12_000))
    return float(np.median([likeness(voice, piece) for piece in pieces])) > 0.9


def upstream(parley: System) -> Session:
    """What the model's server has of the only session."""
    (session,) = parley.simulator.sessions
    return session


def samples(data: bytes | bytearray) -> Samples:
    return np.frombuffer(bytes(data), "<i2").astype(np.int16)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_spoken_turn_is_answered_heard_and_shown(
    redis_server: EmbeddedServer, chromium_path: str, tmp_path: Path, transport: str
) -> None:
    """And all of it can be kept."""
    speech = words(2.5)
    microphone = write_wav(tmp_path / "microphone.wav", silence(0.8), speech, silence(2.0))
    async with talking(redis_server, chromium_path, microphone, think_s=1.0) as (parley, page):
        await page.page.check(f"input[value={transport}]")
        await page.page.evaluate(UNPROCESSED)
        await page.shot(f"voice-idle-{transport}")
        await page.page.click("#big")
        await page.phase("listening")
        await page.shot(f"voice-listening-{transport}")
        await page.phase("hearing")
        await page.shot(f"voice-hearing-{transport}")
        await page.phase("thinking")
        await page.shot(f"voice-thinking-{transport}")
        await page.phase("speaking")
        await page.until("() => parley.player.samplesPlayed > 24000")
        await page.shot(f"voice-speaking-{transport}")
        await page.phase("listening")
        await page.until("() => parley.conversation.items.at(-1).status === 'done'")
        processing = {"echoCancellation": True, "noiseSuppression": True, "autoGainControl": True}
        assert await page.page.evaluate("window.asked") == {"audio": {"channelCount": 1, **processing}}

        (said,) = upstream(parley).recording.utterances
        assert await page.texts("user") == [f"You spoke for {len(said) / 48_000:.3f} seconds ({len(said) // 2} samples)."]
        assert await page.texts("assistant") == [f"I heard {len(said) / 48_000:.3f} seconds ({len(said) // 2} samples)."]
        assert await page.state("parley.player.samplesPlayed") == len(said) // 2
        assert 0.5 < float((await page.page.inner_text("#latency")).removesuffix(" s")) < 20

        await page.page.click("#end")
        await page.phase("over")
        await page.shot(f"voice-over-{transport}")
        answers = read_wav(await page.save("#save-answers", tmp_path / "answers.wav"))
        assert answers.tobytes() == said, "the echo was heard as it was sent"
        voice = read_wav(await page.save("#save-voice", tmp_path / "voice.wav"))
        arrived = bytes(upstream(parley).recording.appended)
        assert voice.tobytes().startswith(arrived), "nothing of it was lost or doubled"
        assert is_said(load(SPEECH, 24_000)[:60_000], voice)
        transcript = (await page.save("#save-text", tmp_path / "transcript.txt")).read_text()
        assert transcript.startswith("You: You spoke for")
        assert "\nParley: I heard" in transcript


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_interruption_stops_the_playback_at_once(
    redis_server: EmbeddedServer, chromium_path: str, tmp_path: Path, transport: str
) -> None:
    """The model is told how much was heard, what comes late is dropped, and the conversation goes on."""
    microphone = write_wav(tmp_path / "microphone.wav", silence(0.8), words(2.5), silence(2.1), words(1.2), silence(3.0))
    async with talking(redis_server, chromium_path, microphone) as (parley, page):
        await page.page.check(f"input[value={transport}]")
        await page.page.evaluate(LATENESS)
        await page.page.evaluate(
            """() => {
              window.after = null;  // what the player does once the user is heard again
              parley.addEventListener("change", () => {
                if (parley.conversation.interruptions && !window.after) {
                  window.after = { isPlaying: parley.player.isPlaying, played: parley.player.samplesPlayed };
                }
              });
            }"""
        )
        await page.page.click("#big")
        await page.phase("speaking")
        await page.phase("interrupted")
        await page.shot(f"voice-interrupted-{transport}")
        after = await page.page.evaluate("window.after")
        assert after["isPlaying"] is False
        await page.phase("speaking")
        await page.phase("listening")
        await page.until("() => parley.conversation.items.at(-1).status === 'done'")

        recording = upstream(parley).recording
        first, second = (len(said) // 2 for said in recording.utterances)
        heard = await page.state("parley.player.samplesPlayed")
        at_flush = heard - second
        assert 0 < at_flush < first
        assert at_flush - after["played"] < 24_000 // 4 + 24 * await page.page.evaluate("window.lateMs"), (
            "what is heard after the flush is what the last report lagged behind"
        )
        assert await page.state("parley.conversation.interruptions") == 1
        statuses = await page.state("parley.conversation.items.map(({ role, status }) => `${role} ${status}`)")
        assert statuses == ["user done", "assistant interrupted", "user done", "assistant done"]
        (truncation,) = [event for event in recording.client_events if event["type"] == "conversation.item.truncate"]
        assert truncation["audio_end_ms"] == at_flush // 24
        answers = read_wav(await page.save("#save-answers", tmp_path / "answers.wav"))
        assert answers.tobytes() == recording.utterances[0][: at_flush * 2] + recording.utterances[1]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_line_that_breaks_is_dialled_again(
    redis_server: EmbeddedServer, chromium_path: str, tmp_path: Path, transport: str
) -> None:
    """What is said meanwhile is kept: not a sample is lost or doubled."""
    microphone = write_wav(tmp_path / "microphone.wav", silence(0.5), words(2.5), silence(2.0))
    async with talking(redis_server, chromium_path, microphone) as (parley, page):
        await page.page.check(f"input[value={transport}]")
        await page.page.click("#big")
        await page.phase("hearing")
        await page.context.set_offline(True)
        await page.phase("reconnecting")
        await page.shot(f"voice-reconnecting-{transport}")
        await page.until("() => parley.line.unacked > 15")
        await page.context.set_offline(False)
        await page.until("() => parley.line.state === 'up'")
        await page.phase("speaking")
        await page.phase("listening")
        assert await page.state("parley.line.dials") >= 2
        assert len(await page.texts("assistant")) == 1
        assert await page.page.locator("#notices .error").count() == 0
        await page.page.click("#end")
        await page.phase("over")
        voice = read_wav(await page.save("#save-voice", tmp_path / "voice.wav")).tobytes()
        arrived = bytes(upstream(parley).recording.appended)
        assert len(arrived) > 2 * 48_000
        assert voice.startswith(arrived)


@pytest.mark.parametrize("codec", ["pcm", "opus"])
async def test_a_talk_goes_from_one_transport_to_the_other(
    redis_server: EmbeddedServer, chromium_path: str, codec: str
) -> None:
    """In the middle of an answer, which is heard whole and once."""
    async with (
        transcoding(redis_server.url),
        talking(redis_server, chromium_path, answer=tone(440, 1.5)) as (_, page),
    ):
        await page.page.check(f"input[value={codec}]")
        await page.page.fill("#text", "one")
        await page.page.press("#text", "Enter")
        for dials, transport in enumerate(("http", "websocket", "http"), 2):
            await page.phase("speaking")
            await page.page.check(f"input[value={transport}]")
            await page.until("dials => parley.line.state === 'up' && parley.line.dials === dials", dials)
            await page.phase("typing")
            await page.page.fill("#text", transport)
            await page.page.press("#text", "Enter")
        await page.phase("speaking")
        await page.phase("typing")
        assert await page.texts("user") == ["one", "http", "websocket", "http"]
        assert len(await page.texts("assistant")) == 4
        heard = await page.state("parley.player.samplesPlayed")
        assert heard == 4 * 36_000


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_turn_in_opus_is_heard_on_both_sides(
    redis_server: EmbeddedServer, chromium_path: str, tmp_path: Path, transport: str
) -> None:
    """WebM up and packets down, through a line that breaks in the middle of the speech. An answer keeps its length."""
    microphone = write_wav(tmp_path / "microphone.wav", silence(0.8), words(2.5), silence(2.0))
    async with (
        transcoding(redis_server.url),
        talking(redis_server, chromium_path, microphone) as (parley, page),
    ):
        await page.page.evaluate(UNPROCESSED)
        await page.page.check(f"input[value={transport}]")
        await page.page.check("input[value=opus]")
        await page.page.click("#big")
        await page.phase("hearing")
        await page.page.evaluate("parley.line.redial()")
        await page.phase("speaking")
        await page.shot(f"voice-opus-{transport}")
        await page.phase("listening")
        await page.until("() => parley.conversation.items.at(-1).status === 'done'")
        assert await page.state("parley.line.dials") == 2
        (said,) = upstream(parley).recording.utterances
        assert await page.texts("assistant") == [f"I heard {len(said) / 48_000:.3f} seconds ({len(said) // 2} samples)."]
        assert await page.state("parley.player.samplesPlayed") == len(said) // 2
        await page.page.click("#end")
        await page.phase("over")
        assert await page.page.locator("#notices .error").count() == 0
        speech = load(SPEECH, 24_000)[:60_000]
        assert resembles(speech, samples(upstream(parley).recording.appended))
        assert resembles(samples(said), read_wav(await page.save("#save-answers", tmp_path / "answers.wav")))
        assert is_said(speech, read_wav(await page.save("#save-voice", tmp_path / "voice.wav")))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_interruption_in_opus_flushes_what_is_decoded(
    redis_server: EmbeddedServer, chromium_path: str, tmp_path: Path, transport: str
) -> None:
    """And the answer behind it is heard from its beginning, to its end."""
    microphone = write_wav(tmp_path / "microphone.wav", silence(0.8), words(2.5), silence(2.1), words(1.2), silence(3.0))
    async with (
        transcoding(redis_server.url),
        talking(redis_server, chromium_path, microphone) as (parley, page),
    ):
        await page.page.check(f"input[value={transport}]")
        await page.page.check("input[value=opus]")
        await page.page.click("#big")
        await page.phase("speaking")
        await page.phase("interrupted")
        await page.phase("speaking")
        await page.phase("listening")
        await page.until("() => parley.conversation.items.at(-1).status === 'done'")
        recording = upstream(parley).recording
        first, second = (len(said) // 2 for said in recording.utterances)
        at_flush = await page.state("parley.player.samplesPlayed") - second
        assert 0 < at_flush < first
        statuses = await page.state("parley.conversation.items.map(({ role, status }) => `${role} ${status}`)")
        assert statuses == ["user done", "assistant interrupted", "user done", "assistant done"]
        (truncation,) = [event for event in recording.client_events if event["type"] == "conversation.item.truncate"]
        assert truncation["audio_end_ms"] == at_flush // 24
        answers = read_wav(await page.save("#save-answers", tmp_path / "answers.wav"))
        assert resembles(samples(recording.utterances[1]), answers[at_flush:])


async def test_hold_to_talk_in_opus(redis_server: EmbeddedServer, chromium_path: str, tmp_path: Path) -> None:
    """Each time the button is held is a recording of its own, and nothing else goes out."""
    microphone = write_wav(tmp_path / "microphone.wav", *[words(3.5)] * 5)
    speech = np.tile(load(SPEECH, 24_000)[:84_000], 2)
    async with (
        transcoding(redis_server.url),
        talking(redis_server, chromium_path, microphone) as (parley, page),
    ):
        await page.page.evaluate(UNPROCESSED)
        await page.page.evaluate(LATENESS)
        await page.page.check("input[value=hold]")
        await page.page.check("input[value=opus]")
        await page.page.click("#big")
        await page.phase("ready")
        for turn in (1, 2):
            before = await page.state("parley.voice.samples")
            await page.page.keyboard.down("Space")
            await page.until("most => parley.voice.samples > most", before + 24_000)
            await page.page.keyboard.up("Space")
            await page.until(_ANSWERS_HEARD, turn)
            held = await page.state("parley.voice.samples") - before
            utterances = upstream(parley).recording.utterances
            assert len(utterances) == turn
            apart = 6_000 + 24 * await page.page.evaluate("window.lateMs")
            assert abs(len(utterances[-1]) // 2 - held) < apart, "the two recorders begin and end together"
            pieces = np.array_split(samples(utterances[-1]), 3)
            assert max(likeness(speech, piece) for piece in pieces) > 0.9
        assert await page.page.locator("#notices .error").count() == 0


@pytest.fixture
def held_ports() -> Iterator[HeldPorts]:
    with HeldPorts() as ports:
        yield ports


async def test_a_server_that_is_away_and_comes_back(
    redis_server: EmbeddedServer, chromium_path: str, held_ports: HeldPorts
) -> None:
    """The page says so, and goes on by itself."""
    async with system(redis_server, Options(), transcription="none") as parley, chromium(chromium_path) as browser:
        port = held_ports.take()
        async with serving(GatewaySettings(PORT=port, REDIS_URL=redis_server.url)) as url:
            page = await (await browser.new_context()).new_page()
            await page.goto(f"{url}/voice-realtime")
            await page.fill("#text", "one")
            await page.press("#text", "Enter")
            await page.wait_for_function("() => parley.conversation.phase === 'speaking'", timeout=LIMIT_MS)
        await page.wait_for_function("() => document.body.dataset.phase === 'reconnecting'", timeout=LIMIT_MS)
        assert "restarts" in await page.inner_text("#notices")
        await page.fill("#text", "two")
        await page.press("#text", "Enter")
        await page.wait_for_selector("#transcript [data-status=pending]", timeout=LIMIT_MS)
        assert await page.inner_text("#transcript [data-status=pending] .text") == "two"
        async with serving(GatewaySettings(PORT=port, REDIS_URL=redis_server.url)):
            await page.wait_for_function("() => parley.conversation.items.filter(i => i.role === 'assistant').length === 2")
            assert await page.locator("#transcript .row-user .text").all_inner_texts() == ["one", "two"]
            assert await page.inner_text("#notices") == ""
    assert len(parley.simulator.sessions) == 1


async def test_hold_to_talk(redis_server: EmbeddedServer, chromium_path: str, tmp_path: Path) -> None:
    """By the space bar and by the button: a turn is what was said meanwhile, and nothing else goes out."""
    microphone = write_wav(tmp_path / "microphone.wav", words(3.5), silence(1.0), words(3.5), silence(1.0), words(3.5))
    async with talking(redis_server, chromium_path, microphone, viewport=PHONE) as (parley, page):
        await page.page.check("input[value=hold]")
        await page.page.click("#big")
        await page.phase("ready")
        await page.shot("voice-hold")
        await page.page.keyboard.down("Space")
        await page.phase("hearing")
        await page.until("() => parley.voice.samples > 48000")  # the answer is long enough to be interrupted in it
        await page.page.keyboard.up("Space")
        await page.phase("speaking")
        held = await page.state("parley.voice.samples")
        assert [len(said) // 2 for said in upstream(parley).recording.utterances] == [held]

        await page.page.hover("#big")
        await page.page.mouse.down()
        await page.phase("interrupted")
        await page.until("held => parley.voice.samples > held + 12000", held)
        await page.page.mouse.up()
        await page.phase("speaking")
        await page.phase("ready")
        assert len(upstream(parley).recording.utterances) == 2
        assert len(await page.texts("assistant")) == 2

        await page.page.click("#big")  # a touch, and nothing said
        await page.until("() => document.getElementById('notices').textContent.includes('too short')")
        await page.phase("ready")
        assert len(upstream(parley).recording.utterances) == 2


async def test_a_refused_microphone_is_told_and_writing_still_works(
    redis_server: EmbeddedServer, chromium_path: str
) -> None:
    async with talking(redis_server, chromium_path, refuse=True) as (_, page):
        await page.page.click("#big")
        await page.until("() => document.getElementById('notices').textContent.includes('microphone was refused')")
        await page.phase("typing")
        await page.shot("voice-refused")
        await page.page.fill("#text", "Is there anybody?")
        await page.page.press("#text", "Enter")
        await page.phase("speaking")
        assert await page.texts("user") == ["Is there anybody?"]
        await page.page.wait_for_selector("#transcript .row-assistant[data-status=done]", timeout=LIMIT_MS)
        assert await page.texts("assistant") == ["Hello, this is the Parley simulator. There is no model behind me."]
        assert await page.state("parley.conversation.latencyMs") is not None


async def test_without_audio_worklets_the_answers_are_written(redis_server: EmbeddedServer, chromium_path: str) -> None:
    """As over plain HTTP from another machine, where browsers give neither those nor the microphone."""
    async with system(redis_server, Options()) as parley, chromium(chromium_path) as browser:
        port = parley.urls[0].rpartition(":")[2]
        context = await browser.new_context()
        page = await context.new_page()
        await page.add_init_script(
            "Object.defineProperty(window, 'isSecureContext', { value: false });"
            "delete window.AudioWorkletNode; delete window.AudioDecoder"
        )
        await page.goto(f"http://127.0.0.1:{port}/voice-realtime")
        assert "plain HTTP from another machine" in await page.inner_text("#notices")
        assert not await page.is_visible("#codecs")
        await page.fill("#text", "Hello?")
        await page.press("#text", "Enter")
        await page.wait_for_selector("#transcript .row-assistant[data-status=done]", timeout=LIMIT_MS)
        assert "no model behind me" in await page.inner_text("#transcript .row-assistant .text")
        assert await page.get_attribute("body", "data-phase") == "typing"


async def test_a_session_that_goes_on_elsewhere_is_left_alone(redis_server: EmbeddedServer, chromium_path: str) -> None:
    """And one that is over is told to be."""
    async with talking(redis_server, chromium_path) as (parley, page):
        await page.page.fill("#text", "one")
        await page.page.press("#text", "Enter")
        await page.phase("speaking")
        session = await page.state("parley.line.session")
        async with parley.talker(f"?parley=1&session={session}"):
            await page.phase("over")
            assert "another window or device" in await page.page.inner_text("#notices")
        dials = await page.state("parley.line.dials")
        assert await page.page.inner_text("#big") == "Start again"
        await page.page.fill("#text", "two")
        await page.page.press("#text", "Enter")
        await page.phase("speaking")
        assert await page.texts("user") == ["two"]
        assert await page.state("parley.line.session") != session
        assert dials == 1

        ours = await page.state("parley.line.session")
        await page.page.evaluate("parley.line.say({ type: 'session.update', session: { type: 'realtime' } })")
        async with parley.talker(f"?parley=1&session={ours}") as other:
            await other.until("parley.resumed")
            await other.ws.close(code=1000)
        await page.phase("over")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_token_is_asked_for_and_each_dial_has_its_ticket(
    redis_server: EmbeddedServer, chromium_path: str, transport: str
) -> None:
    """The token itself stands in no address, and no ticket in two."""
    asked: list[str] = []
    async with talking(redis_server, chromium_path, secret=NEW) as (_, page):
        page.page.on("websocket", lambda socket: asked.append(socket.url))
        page.page.on("request", lambda request: asked.append(request.url))

        def dials() -> list[str]:
            return [url for url in asked if "ticket=" in url]

        await page.page.check(f"input[value={transport}]")
        await page.page.click("#big")
        await page.phase("locked")
        assert await page.page.is_visible("#token-form")
        await page.shot("voice-token")
        await page.page.fill("#token", token("ann", OTHERS))
        await page.page.press("#token", "Enter")
        await page.until("() => document.body.innerText.includes('does not accept this token')")
        assert await page.page.is_visible("#token-form")
        assert dials() == []
        await page.page.fill("#token", token("ann"))
        await page.page.press("#token", "Enter")
        await page.until("() => parley.line.state === 'up'")
        await page.until("() => document.getElementById('token-form').hidden")
        await page.page.evaluate("parley.line.redial()")
        await page.until("() => parley.line.state === 'up' && parley.line.dials >= 2")
        await page.page.fill("#text", "Hello!")
        await page.page.press("#text", "Enter")
        await page.phase("speaking")
        assert len(dials()) == len(set(dials())) >= 2
        assert not any("eyJ" in url for url in asked)

        await page.page.goto(f"{page.page.url}#token=another")
        await page.page.reload()
        assert "another" not in page.page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_use_it(redis_server: EmbeddedServer, chromium_path: str, scheme: str) -> None:
    """Contrast of 4.5 or more, names on all controls, targets of 40 px or more, and no sideways scrolling on a phone."""
    async with talking(redis_server, chromium_path, viewport=PHONE, color_scheme=scheme, reduced_motion="reduce") as (
        parley,
        page,
    ):
        await page.page.fill("#text", "Hello!")
        await page.page.press("#text", "Enter")
        await page.phase("speaking")
        await page.shot(f"voice-{scheme}")
        for path in ("voice-realtime", "static/websocket_audio.html", ""):
            if path != "voice-realtime":
                await page.page.goto(f"{parley.urls[0]}/{path}")
                await page.shot(f"{'recorder' if path else 'index'}-{scheme}")
            assert await page.page.evaluate(_WEAK_TEXT) == []
            assert await page.page.evaluate(_SMALL_TARGETS) == []
            assert await page.page.evaluate(_NAMELESS) == []


async def test_the_keyboard_reaches_everything(redis_server: EmbeddedServer, chromium_path: str) -> None:
    async with talking(redis_server, chromium_path) as (_, page):
        reached = []
        for _ in range(9):
            await page.page.keyboard.press("Tab")
            reached.append(await page.page.evaluate(_FOCUSED))
        assert reached == ["skip", "brand", "big", "transcript", "text", "send", "free", "websocket", "pcm"]


_ANSWERS_HEARD = """(count) => parley.conversation.phase === "listening"
  && parley.conversation.items.filter(({ role, status }) => role === "assistant" && status === "done").length === count"""

_SMALL_TARGETS = """[...document.querySelectorAll('button, .segments label, .card')]
  .filter((element) => element.offsetParent && element.offsetHeight < 40).map((element) => element.outerHTML)"""

_NAMELESS = """[...document.querySelectorAll('button, input')]
  .filter((element) => !(element.textContent.trim() || element.labels?.length || element.ariaLabel))
  .map((element) => element.outerHTML)"""

_FOCUSED = "(({ id, value, className }) => id || value || className)(document.activeElement)"

_WEAK_TEXT = """() => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const weak = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.offsetParent || element.closest("noscript, :disabled")) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) weak.push([walker.currentNode.textContent, (a + 0.05) / (b + 0.05)]);
  }
  return weak;
}"""


async def test_on_a_low_screen_nothing_of_a_conversation_is_hidden(redis_server: EmbeddedServer, chromium_path: str) -> None:
    """A laptop's 720 px: the waves, the latency and the button that ends it stand there without scrolling."""
    async with talking(redis_server, chromium_path, viewport={"width": 1280, "height": 720}) as (_, page):
        await page.page.click("#big")
        await page.until("() => !document.getElementById('end').hidden")
        await page.until(
            """() => {
              const stage = document.querySelector('.stage');
              const end = document.getElementById('end').getBoundingClientRect();
              return stage.scrollHeight <= stage.clientHeight && end.bottom <= stage.getBoundingClientRect().bottom;
            }"""
        )
