"""The line to the model is left, because it breaks or its time is up: what is heard and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

import msgspec
import numpy as np
import pytest

from realtime_bridge import passthrough, retry
from realtime_bridge.dialling import Dialling
from realtime_bridge.errors import UpstreamUnavailable
from realtime_bridge.line import Line
from realtime_bridge.lines import Lines
from realtime_bridge.prompts import GO_ON
from realtime_bridge.session_bridge import SOUNDS_AT_ONCE
from realtime_bridge.upstream import Upstream
from simulator.answers import Fixed, Output, Question, Speech
from simulator.faults import Fault
from simulator.items import Item
from simulator.server import running
from simulator.wire import Object, member, members
from streams import down, pcm, turns
from streams.hub import Hub
from streams.messages import ClientEvent, Commit, End, SetPersona
from tests.integration.realtime_bridge.stage import (
    AT_ONCE,
    FRAME_MS,
    MS,
    PROBE,
    REST,
    Call,
    bridged,
    settings_for,
    silence,
    speech,
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.02)


def _has_heard(answers: int, call: Call) -> bool:
    return call.completed >= answers


async def test_a_greeting_is_said_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A persona is chosen, and the line breaks behind each event of its greeting: it is heard once, or goes on."""
    settings = settings_for(monkeypatch, "http://127.0.0.1:1/v1")

    async def greeted(after: int) -> None:
        options = replace(AT_ONCE, faults=(Fault("close", after, 1011),))
        async with running(options) as simulator:
            theirs = settings.model_copy(update={"openai_base_url": simulator.base_url})
            async with bridged(hub, theirs, f"greeted-{after}") as call:
                call.tells(SetPersona("moon"))
                await call.until(partial(_has_heard, 1))
                call.says(silence(300) + speech(1) + silence(800))
                await call.until(partial(_has_heard, 2))
                creates = [
                    instructions(event)
                    for session in simulator.sessions
                    for event in session.recording.client_events
                    if event["type"] == "response.create"
                ]
        greetings = sum("Say good night." in each for each in creates)
        rests = sum(GO_ON in each for each in creates)
        begun = call.statuses.count("incomplete")
        assert rests == begun <= 1, (after, creates, call.statuses)
        assert greetings == 1 or not begun, (after, creates, call.statuses)
        assert call.statuses.count("completed") == 2
        assert call.failures == []

    await asyncio.gather(*map(greeted, range(1, 24)))


@pytest.mark.parametrize(("after_break", "rest"), [("continue", 1), ("stop", 0)])
async def test_an_answer_that_breaks_goes_on_or_stops(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, after_break: str, rest: int
) -> None:
    """What was heard of it is the assistant's word in the next session; the user is asked nothing again."""
    options = replace(AT_ONCE, faults=(Fault("reset", 26),))
    async with running(options) as simulator:
        settings = settings_for(monkeypatch, simulator.base_url, PARLEY_AFTER_BREAK=after_break)
        async with bridged(hub, settings) as call:
            call.says(silence(400) + speech(0) + silence(800))
            await call.until(lambda call: down.Resumed() in call.told)
            await call.until(lambda call: len(call.statuses) == 1 + rest)
            assert call.statuses == ["incomplete", "completed"][: 1 + rest]
            _first, second = simulator.sessions
            async with asyncio.timeout(10):
                while len(second.conversation.items) < 2:  # noqa: ASYNC110 - what was said goes up as sound
                    await asyncio.sleep(0.01)
            whole = "You said something, and I say it again, word by word."
            assert 0 < len(heard := said(second.conversation.items[1])) < len(whole)
            assert whole.startswith(heard + " ")
            assert call.heard.endswith(REST) == bool(rest)
            assert call.told.index(down.Reconnecting()) < call.told.index(down.Resumed())
            assert not second.recording.refused


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (3000, "invalid_request_error.invalid_api_key", "invalid_api_key"),
        (4004, "invalid_request_error.model_not_found", "model_not_found"),
        (4000, "invalid_request_error.insufficient_quota", "insufficient_quota"),
    ],
)
async def test_a_fatal_close_ends_the_session_with_its_reason(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, code: int, reason: str, told: str
) -> None:
    """In mid-session, at once: no redial, and the real reason."""
    monkeypatch.setattr("simulator.server.ON_DEMAND", reason)
    options = replace(AT_ONCE, faults=(Fault("close", 12, code, None),))
    async with running(options) as simulator:
        settings = settings_for(monkeypatch, simulator.base_url)
        async with bridged(hub, settings) as call:
            call.says(silence(400) + speech(0) + silence(800))
            await call.until(lambda call: down.Ended(reason=told) in call.told)
            assert call.failures == [told]
            assert len(simulator.sessions) == 1


async def test_an_answer_that_fails_for_want_of_money_ends_the_session(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """`insufficient_quota` comes inside a response that failed; asking again would not help."""
    options = replace(AT_ONCE, fails=("insufficient_quota",))
    async with running(options) as simulator, bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call:
        call.says(silence(400) + speech(0) + silence(800))
        await call.until(lambda call: down.Ended(reason="insufficient_quota") in call.told)
        assert call.failures == ["insufficient_quota"]


async def test_an_answer_that_there_was_no_room_for_is_asked_for_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure says so inside a response that failed. The client hears a pause, and one answer."""
    options = replace(AT_ONCE, fails=("inference_rate_limit_exceeded",) * 2)
    async with running(options) as simulator, bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call:
        call.says(silence(400) + speech(0) + silence(800))
        await call.until(partial(_has_heard, 1))
        assert call.statuses == ["completed"]
        assert call.failures == []


async def test_what_another_socket_said_can_be_interrupted(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line breaks when a long answer is generated and still heard; then the user speaks: the rest is void, and the
    model of the next socket is told of it as far as it was heard."""
    words = " ".join(f"word{n}" for n in range(60))
    answer = Fixed(Speech(words, speech(50, 20_000)))
    options = replace(AT_ONCE, answer=answer, delta_ms=5_000, faults=(Fault("close", 1, 1011, event="rate_limits.updated"),))
    async with running(options) as simulator, bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call:
        call.says(silence(400) + speech(0) + silence(800))
        await call.until(lambda call: down.Resumed() in call.told)
        await asyncio.sleep(1.0)  # the user listens
        call.says(silence(400) + speech(1) + silence(800))
        await call.until(lambda call: any(isinstance(message, down.Interrupted) for message in call.told))
        await call.until(partial(_has_heard, 2))
        first, second = simulator.sessions
        (cut,) = [message for message in call.told if isinstance(message, down.Interrupted)]
        assert cut.item in str(first.conversation.items)
        assert 0 < cut.at_ms < 15_000
        heard, then = [said(item) for item in second.conversation.items if item.role == "assistant"]
        assert 0 < len(heard) < 100
        assert words.startswith(f"{heard} ")
        assert then == words  # the answer to what came then
        assert not second.recording.refused


async def test_who_said_goodbye_hears_the_end_of_the_answer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line breaks in the middle of the last answer: its rest is said, and then the session ends."""
    fault = Fault("reset", 3, event="response.output_audio.delta")
    async with (
        running(replace(AT_ONCE, faults=(fault,))) as simulator,
        bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call,
    ):
        call.says(silence(400) + speech(0))
        call.tells(End("client_left", after_answer=True))
        await call.until(lambda call: down.Ended(reason="client_left") in call.told)
        assert call.statuses == ["incomplete", "completed"]
        assert call.heard.endswith(REST)


async def test_another_bridge_goes_on_in_the_middle_of_an_answer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A takeover is a redial: what was said is kept, and the rest is asked for, once."""
    options = replace(AT_ONCE, speed=1.0)
    async with running(options) as simulator, bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call:
        call.says(silence(400) + speech(0, 6_000) + silence(800))
        await call.until(lambda call: len(call.heard) > 500 * MS)
        await call.relieve()
        await call.until(partial(_has_heard, 1))
        assert call.statuses == ["incomplete", "completed"]
        assert call.heard.count(speech(0)[:PROBE]) == 1
        assert call.heard.endswith(REST)


async def test_another_bridge_tells_of_a_hole_no_more(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads again what is not answered, and the client was told what is missing in that."""
    async with running(AT_ONCE) as simulator, bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call:
        call.says(silence(400) + speech(0))
        call.tells(pcm.Gap(missing_ms=60, filled=False))
        await call.until(lambda call: bool(call.failures))
        await call.relieve()
        call.says(speech(0) + silence(800))
        await call.until(partial(_has_heard, 1))
        assert call.failures == ["damaged_media"]


async def test_what_was_said_is_told_as_sound_a_few_sessions_at_a_time(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody writes it down. A minute of each of a hundred sessions would be more than a bridge's memory."""
    options = replace(AT_ONCE, faults=(Fault("reset", 18),))
    async with running(options) as simulator:
        settings = settings_for(monkeypatch, simulator.base_url, PARLEY_TRANSCRIPTION_MODEL="none")
        async with bridged(hub, settings) as call, AsyncExitStack() as others:
            for _ in range(SOUNDS_AT_ONCE):
                await others.enter_async_context(call.bridge._r.sounds.taken(0, due=False))
            call.says(silence(400) + speech(0) + silence(800))
            await call.until(lambda call: down.Resumed() in call.told)
            await call.uplink.flush()
            second = simulator.sessions[1]
            assert not second.conversation.items
            await others.aclose()
            async with asyncio.timeout(10):
                while not second.conversation.items:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            said = second.conversation.items[0]
            assert said.sound is not None
            assert speech(0) in said.sound.audio()


async def test_the_silence_before_what_was_said_is_not_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is told as sound is paid for, and takes its time."""
    async with running(AT_ONCE) as simulator:
        settings = settings_for(monkeypatch, simulator.base_url, PARLEY_TRANSCRIPTION_MODEL="none")
        async with bridged(hub, settings) as call:
            call.says(silence(8_000) + speech(0) + silence(800))
            await call.until(lambda call: call.completed > 0)
            await call.relieve()
            async with asyncio.timeout(10):
                while len(simulator.sessions) < 2 or not simulator.sessions[1].conversation.items:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            told = simulator.sessions[1].conversation.items[0].sound
            assert told is not None
            assert speech(0) in told.audio()
            assert len(told.audio()) < len(speech(0)) + 2_000 * MS


async def test_what_a_client_asks_while_nobody_is_there_is_answered(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told that the answer is over; the rest of that, which it has not asked for, is not in its way."""
    session = msgspec.json.encode({"audio": {"input": {"turn_detection": None}}})
    opened = turns.Opened(user="sdk", door=passthrough.DOOR, turn_mode="server_vad", session=msgspec.Raw(session))
    options = replace(AT_ONCE, answer=LongUntil(speech(1)), speed=2.0, delta_ms=100)
    async with (
        running(options) as simulator,
        bridged(hub, settings_for(monkeypatch, simulator.base_url), opened=opened) as call,
    ):
        asks(call, speech(0))
        await call.until(lambda call: len(call.heard) > 300 * MS)
        await call.leave()
        asks(call, speech(1))
        await call.uplink.flush()
        call.inherit()
        await call.until(partial(_has_heard, 1))
        assert call.statuses == ["incomplete", "cancelled", "completed"]
        assert "error" not in call.events


@dataclass(frozen=True)
class LongUntil:
    """Says what takes long, but to this."""

    heard: bytes

    def outputs(self, question: Question) -> tuple[Output, ...]:
        is_it = question.utterance is not None and self.heard in question.utterance.audio
        return (Speech("It takes a while until all of this is said.", speech(7, 400 if is_it else 20_000)),)


def asks(call: Call, audio: bytes) -> None:
    """As a client does that speaks the model's protocol."""
    call.says(audio)
    call.tells(Commit())
    call.tells(ClientEvent("response.create", msgspec.Raw(b'{"type":"response.create"}')))


SLACK_S = 10.0


@pytest.fixture
def _has_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server closes its sessions so much later than is believed here: there is room for a machine that stands still just
    when the last moment has come. Of sessions that are longer half a minute is left."""
    expires_in_s = Lines._expires_in_s

    def sooner(lines: Lines, upstream: Upstream) -> float | None:
        left_s = expires_in_s(lines, upstream)
        return None if left_s is None else left_s - SLACK_S

    monkeypatch.setattr(Lines, "_expires_in_s", sooner)


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("_has_slack")
async def test_a_call_of_three_caps(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user talks on through the end of three sessions of three seconds, once in the middle of a word: nobody hears of
    it, and no sample of what was said is lost or comes twice."""
    options = replace(AT_ONCE, session_s=3.0 + SLACK_S)
    async with running(options) as simulator, bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call:
        uplink = bytearray()
        spoken: list[bytes] = []
        while len(simulator.sessions) < 4 or len(spoken) < 5:
            ms = 2_600 if len(spoken) == 2 else 400
            spoken.append(speech(len(spoken), ms))
            turn = spoken[-1] + hush(len(spoken), ms + 1_800)
            uplink += turn
            await in_real_time(call, turn)
        await call.until(partial(_has_heard, len(spoken)))
        sessions = [session.recording for session in simulator.sessions]
        async with asyncio.timeout(20):  # the silence behind the last word is on its way
            while not any(each.appended.endswith(uplink[-FRAME_MS * MS :]) for each in sessions):
                await asyncio.sleep(0.02)
                sessions = [session.recording for session in simulator.sessions]
        heard = [uplink.find(u) for each in sessions for u in each.utterances]
        ends = [start + len(u) for start, u in zip(heard, (u for each in sessions for u in each.utterances), strict=True)]
        assert min(heard) >= 0, "an utterance is not what was said, sample by sample"
        assert all(end <= start for end, start in zip(ends, heard[1:], strict=False)), "something was said twice"
        for said in spoken:
            at = uplink.find(said)
            whole = [start <= at and at + len(said) <= end for start, end in zip(heard, ends, strict=True)]
            assert sum(whole) == 1
        # What is between the utterances went through as well: each socket has a piece without a gap, and so have all.
        pieces = [(uplink.find(each.appended), len(each.appended)) for each in sessions if each.appended]
        assert min(start for start, _ in pieces) == 0
        reached = 0
        for start, size in pieces:
            assert 0 <= start <= reached, f"lost: {start - reached} bytes"
            reached = max(reached, start + size)
        assert reached == len(uplink)
        assert [call.heard.count(said) for said in spoken] == [1] * len(spoken)
        assert call.failures == []
        assert down.Reconnecting() not in call.told
        assert call.statuses == ["completed"] * len(spoken)
        assert not any(each.refused for each in sessions)


async def test_a_line_whose_next_one_is_prepared_says_nothing_more(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lasts for some turns of the loop yet; what it would say is the next one's to say, and would come twice."""
    async with running(AT_ONCE) as simulator, bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call:
        call.says(silence(400) + speech(0) + silence(800))
        await call.until(partial(_has_heard, 1))
        lines = call.bridge._lines
        assert lines is not None
        line = lines.current
        assert line is not None
        async with asyncio.timeout(20):
            while (prepared := await lines._prepare_next(line)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        going_on = asyncio.create_task(prepared.converse())
        for turn in (1, 2):
            call.says(silence(400) + speech(turn) + silence(800))
            await call.until(lambda call, turn=turn: speech(turn) in call.heard)  # type: ignore[misc]
            await asyncio.sleep(0.5)  # for whatever else comes of it
        first = simulator.sessions[0]
        assert speech(1) not in first.recording.appended
        assert [call.heard.count(speech(turn)) for turn in (1, 2)] == [1, 1]
        going_on.cancel()
        await asyncio.wait([going_on])
        await prepared.close()


async def test_an_end_in_the_moment_of_a_break(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session ends; the socket that breaks at the same time does not make it go on."""
    breaks = asyncio.Event()

    async def broken(lines: Lines, line: Line) -> None:
        await breaks.wait()
        raise UpstreamUnavailable("gone", "It is gone.")

    monkeypatch.setattr(Lines, "_roll_over", broken)
    async with running(AT_ONCE) as simulator, bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call:
        call.says(silence(400) + speech(0) + silence(800))
        await call.until(partial(_has_heard, 1))
        breaks.set()
        call.bridge.end("over")
        await call.until(lambda call: down.Ended("over") in call.told)
        assert len(simulator.sessions) == 1


@pytest.mark.usefixtures("_has_slack")
async def test_a_speech_longer_than_the_session(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a quiet moment: at the last it happens anyway, and the speech is whole in the next session, once."""
    options = replace(AT_ONCE, session_s=2.0 + SLACK_S)
    long = speech(7, 2_600)
    async with running(options) as simulator, bridged(hub, settings_for(monkeypatch, simulator.base_url)) as call:
        await in_real_time(call, long + silence(800))
        await call.until(partial(_has_heard, 1))
        assert [long in u for session in simulator.sessions for u in session.recording.utterances] == [True]
        assert call.heard.count(long) == 1
        assert call.failures == []
        assert down.Reconnecting() not in call.told


async def test_a_socket_is_left_at_the_age_that_was_set(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the server never says that a session expires."""
    options = replace(AT_ONCE, sparse=True)
    async with running(options) as simulator:
        settings = settings_for(monkeypatch, simulator.base_url, PARLEY_SOCKET_MAX_S="1")
        async with bridged(hub, settings) as call:
            call.says(silence(400) + speech(0) + silence(800))
            await call.until(partial(_has_heard, 1))
            async with asyncio.timeout(10):
                while len(simulator.sessions) < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            call.says(silence(400) + speech(1) + silence(800))
            await call.until(partial(_has_heard, 2))
            assert [call.heard.count(speech(turn)) for turn in range(2)] == [1, 1]


async def test_a_turn_that_nobody_has_asked_about_is_known_to_the_next_socket(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that has the model find turns and asks for answers itself: its silence is a quiet moment, at once."""
    detection = {"type": "server_vad", "create_response": False}
    session = msgspec.json.encode({"audio": {"input": {"turn_detection": detection}}})
    opened = turns.Opened(user="sdk", door=passthrough.DOOR, turn_mode="server_vad", session=msgspec.Raw(session))
    async with running(replace(AT_ONCE, sparse=True)) as simulator:
        settings = settings_for(monkeypatch, simulator.base_url, PARLEY_SOCKET_MAX_S="1")
        async with bridged(hub, settings, opened=opened) as call:
            call.says(silence(400) + speech(0) + silence(800))
            await call.until(lambda call: "conversation.item.input_audio_transcription.completed" in call.events)
            async with asyncio.timeout(10):
                while len(simulator.sessions) < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            call.tells(ClientEvent("response.create", msgspec.Raw(b'{"type":"response.create"}')))
            await call.until(partial(_has_heard, 1))
            (asked,) = [each for each in simulator.sessions if "response.create" in kinds(each.recording.client_events)]
            assert [item.body["role"] for item in asked.conversation.items] == ["user", "assistant"]


def hush(seed: int, ms: int) -> bytes:
    """What turn detection takes for silence, and is nowhere else the same."""
    return np.random.default_rng((1, seed)).integers(-20, 20, ms * 24).astype("<i2").tobytes()


async def in_real_time(call: Call, audio: bytes) -> None:
    """As a microphone would."""
    loop = asyncio.get_running_loop()
    begin, size = loop.time(), FRAME_MS * MS
    for n, start in enumerate(range(0, len(audio), size)):
        call.says(audio[start : start + size])
        await asyncio.sleep(max(0.0, begin + (n + 1) * FRAME_MS / 1000 - loop.time()))


def said(item: Item) -> str:
    """The words of an item of the assistant's."""
    (part,) = members(item.body, "content")
    return str(part.get("text", part.get("transcript")))


def kinds(events: Iterable[Object]) -> list[object]:
    return [event["type"] for event in events]


def instructions(event: Object) -> str:
    return str(member(event, "response").get("instructions"))


async def test_what_was_said_a_moment_before_the_next_socket_is_known_to_it(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes some seconds until that is there, in which the microphone is open and silent: it goes on from what it was
    told, and not from then. And who was told of a hole by then is not told again."""
    opened = turns.Opened(user="sdk", door=passthrough.DOOR, turn_mode="server_vad")
    text = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "By the way."}]}
    item = msgspec.json.encode({"type": "conversation.item.create", "item": text})
    dial_once = Dialling.once

    async def slowly(dialling: Dialling) -> Upstream:
        await asyncio.sleep(2.5)
        return await dial_once(dialling)

    prepare = Lines._prepare_next

    async def said_before(lines: Lines, line: Line) -> Line | None:
        if not left:
            left.append((lines, line))
            call.tells(ClientEvent("conversation.item.create", msgspec.Raw(item)))
            call.tells(pcm.Gap(missing_ms=60, filled=True))
            await call.until(lambda call: bool(call.failures))
        return await prepare(lines, line)

    left: list[tuple[Lines, Line]] = []
    monkeypatch.setattr(Dialling, "once", slowly)
    monkeypatch.setattr(Lines, "_prepare_next", said_before)
    async with running(replace(AT_ONCE, sparse=True)) as simulator:
        settings = settings_for(monkeypatch, simulator.base_url, PARLEY_SOCKET_MAX_S="1")
        async with bridged(hub, settings, opened=opened) as call:
            mic = asyncio.create_task(in_real_time(call, silence(60_000)))
            async with asyncio.timeout(40):
                while not left or left[0][0].current is left[0][1]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)  # for whatever else is said to it
            mic.cancel()
            adopted = left[0][0].current
            assert adopted is not None
            (model,) = (each for each in simulator.sessions if each.id == adopted.upstream.session.id)
            assert [said(item) for item in model.conversation.items] == ["By the way."]
            assert call.failures == ["damaged_media"]
