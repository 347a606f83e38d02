"""What the bridge has counted, against what the simulator has billed: to the token, and to the cent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random

import aiohttp
import pytest
from msgspec import Raw

from realtime_bridge.accounting import load_prices
from realtime_bridge.personas import Personas
from realtime_bridge.server_events import parse
from realtime_bridge.session_bridge import Resources, SessionBridge
from realtime_bridge.settings import BridgeSettings
from realtime_bridge.usage import LOST, Meter
from realtime_bridge.usage import Bill as Counted
from simulator.agenda import Close
from simulator.answers import tone
from simulator.billing import Bill
from simulator.options import Options
from simulator.server import Running, running
from simulator.session import Session
from simulator.wire import Json, Object, audio_text, encode
from streams import accounts, down, pcm, turns, usage
from streams.consumer import Consumer, read
from streams.dispatch import Assignment
from streams.hub import Hub
from streams.ids import BIRTH, EntryId
from streams.messages import End
from streams.producer import Chained, Marked, Producer
from streams.sessions import Sessions, now_ms
from streams.turns import Used
from tests.reigns import reign

MODEL = "gpt-realtime-2.1"
WAITS = (0.0, 0.0, 0.05, 0.2, 0.5, 2.0, 30.0)


def micro_usd(bills: Iterable[Bill]) -> Fraction:
    """Of responses of MODEL, by its list: millionths of a dollar, not rounded."""
    per_token = {"text": (4, Fraction("0.4"), 24), "audio": (32, Fraction("0.4"), 64)}
    sum_ = Fraction(0)
    for bill in bills:
        for sort, (fresh, cached, written) in per_token.items():
            of_cache = getattr(bill.cached, sort)
            sum_ += (getattr(bill.read, sort) - of_cache) * fresh + of_cache * cached + getattr(bill.written, sort) * written
    return sum_


def whisper_micro_usd(bills: Iterable[Bill]) -> Fraction:
    """$0.006 a minute."""
    return sum((Fraction(str(bill.seconds)) * 100 for bill in bills), Fraction(0))


def assert_same(entries: list[Used], responses: list[Bill], captions: list[Bill]) -> None:
    """Every bill is an entry, every entry a bill, and the money is the same to half a billionth an entry."""
    told = {used.id: used for used in entries if used.of == "response" and used.status != LOST}
    written = {used.id: used for used in entries if used.of == "transcription"}
    assert set(told) == {bill.of for bill in responses}
    assert set(written) == {bill.of for bill in captions}
    for bill in responses:
        used = told[bill.of]
        assert used.status == bill.status
        assert (used.text_in, used.audio_in) == (bill.read.text, bill.read.audio)
        assert (used.cached_text_in, used.cached_audio_in) == (bill.cached.text, bill.cached.audio)
        assert (used.text_out, used.audio_out) == (bill.written.text, bill.written.audio)
    total = usage.total(entries)
    expected = (micro_usd(responses) + whisper_micro_usd(captions)) * 1000
    assert abs(total.nano_usd - expected) <= Fraction(len(entries), 2)
    assert round(total.nano_usd / 10_000_000) == round(expected / 10_000_000), "cents"
    assert total.responses == len(responses) + sum(used.status == LOST for used in entries)
    assert total.transcriptions == len(captions)


@dataclass
class Upstreams:
    """One session of ours, on one simulated session after the other."""

    options: Options
    random: Random
    counted: Counted = field(default_factory=lambda: Counted(load_prices(None)))
    now: float = 0.0
    responses: list[Bill] = field(default_factory=list)
    captions: list[Bill] = field(default_factory=list)
    breaks: int = 0
    session: Session = field(init=False)
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        self.dial()

    def dial(self) -> None:
        self.meter = Meter(self.counted, MODEL, "whisper-1")
        self.session = Session(self.options, MODEL, now=self.now, wall=0.0, random=self.random)
        captions: Object = {"input": {"transcription": {"model": "whisper-1"}}}
        self.say("session.update", session={"type": "realtime", "audio": captions})

    def say(self, kind: str, **fields: Json) -> None:
        event: Object = {"type": kind}
        self.session.receive({**event, **fields}, self.now)
        self.hear()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.hear()

    def hear(self) -> None:
        for effect in self.session.due(self.now):
            assert not isinstance(effect, Close)
            for _ in range(1 + (self.random.random() < 0.1)):  # now and then told twice: it must not count twice
                self.meter.heard(parse(encode(effect)), round(self.now * 1000))

    def break_off(self) -> None:
        """The socket is gone; now and then the bridge too, and another goes on with what is in `turns`."""
        self.responses += self.session.billing.responses
        self.captions += self.session.billing.transcriptions
        self.breaks += 1
        self.meter.closed(round(self.now * 1000))
        if self.random.random() < 0.3:
            self.counted = Counted(load_prices(None), known=self.counted.entries)
        self.dial()


@pytest.mark.parametrize("seed", range(4))
def test_500_random_responses_add_up_to_the_cent(seed: int) -> None:
    """Spoken and written turns, answers cancelled by us and by the model's VAD, out of band too, on sockets that break."""
    random = Random(seed)
    upstreams = Upstreams(Options(speed=5.0, transcription_delay_s=0.1), random)
    while len(upstreams.responses) + len(upstreams.session.billing.responses) < 500:
        match random.choices(("speak", "write", "aside", "cancel", "delete", "break"), (30, 30, 10, 25, 5, 5))[0]:
            case "speak":
                upstreams.say(
                    "input_audio_buffer.append", audio=audio_text(random.randbytes(48 * random.randrange(100, 2500)))
                )
                upstreams.say("input_audio_buffer.commit")
                upstreams.say("response.create")
            case "write":
                text: Object = {"type": "input_text", "text": "word " * random.randrange(1, 80)}
                upstreams.say("conversation.item.create", item={"type": "message", "role": "user", "content": [text]})
                upstreams.say("response.create")
            case "aside":
                upstreams.say("response.create", response={"conversation": "none", "output_modalities": ["text"]})
            case "cancel":
                upstreams.say("response.cancel")
            case "delete" if items := upstreams.session.conversation.items:
                upstreams.say("conversation.item.delete", item_id=random.choice(items).id)
            case "break":
                upstreams.break_off()
        upstreams.wait(random.choice(WAITS))
    upstreams.break_off()
    assert upstreams.breaks > 5
    entries = upstreams.counted.entries
    assert {used.status for used in entries if used.of == "response"} >= {"completed", "cancelled", LOST}
    assert_same(entries, upstreams.responses, upstreams.captions)


# ---- the real thing -------------------------------------------------------------------------------------------------


def billed(simulator: Running) -> tuple[list[Bill], list[Bill]]:
    """By all of its sessions."""
    all_sessions = [session.billing for session in simulator.sessions]
    return (
        [bill for billing in all_sessions for bill in billing.responses],
        [bill for billing in all_sessions for bill in billing.transcriptions],
    )


async def until_over(hub: Hub, stream: str) -> None:
    async with asyncio.timeout(20), Consumer(hub.redis, hub.bus, stream, down.decoder, after=BIRTH) as entries:
        async for entry in entries:
            if isinstance(entry.message, down.Ended):
                return


async def test_a_session_whose_sockets_break_adds_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that are interrupted all the time, upstream sessions of 0.6 s, a takeover, and an end in mid-answer."""
    monkeypatch.setattr("realtime_bridge.lines.MAX_BREAKS", 1000)
    monkeypatch.setattr("realtime_bridge.accounting.LAST_BILL_S", 10.0)  # what comes later is on no bill
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("PARLEY_TRANSCRIPTION_MODEL", "whisper-1")
    random = Random(6)
    options = Options(answer=tone(440, 0.6), speed=4.0, delta_ms=50, transcription_delay_s=0.05, session_s=0.6)
    opened = turns.Opened(user="ann", door="mobile", turn_mode="utterance")
    session = (await Sessions(hub.redis).create(opened, "ann")).session
    day = usage.day_of(now_ms())
    async with running(options) as simulator, aiohttp.ClientSession() as http:
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
        resources = Resources(BridgeSettings.load(), Personas.load(None), hub, http, "test:1")
        bridge = SessionBridge(Assignment(EntryId(1, 1), session), resources)
        task = asyncio.create_task(bridge.run())
        uplink = Producer(hub.writer, session.keys.pcm, Marked("test"))
        for turn in range(24):
            audio = random.randbytes(48 * random.randrange(100, 900))
            uplink.append(pcm.Audio(audio))
            end = pcm.UtteranceEnd(samples=len(audio) // 2, arrived_ms=60_000 * turn, source="test")
            await uplink.append(end)
            await asyncio.sleep(random.uniform(0.0, 0.4))
            if turn == 12:
                bridge.leave()
                assert not await task
                bridge = SessionBridge(Assignment(EntryId(1, 2), session), resources)
                task = asyncio.create_task(bridge.run())
        await uplink.append(End("client_left"))
        await until_over(hub, session.keys.down)
        assert await task
        log = await read(hub.redis, session.keys.turns, turns.decoder)
        entries = [entry.message for entry in log if isinstance(entry.message, Used)]
        responses, captions = billed(simulator)
        assert len(simulator.sessions) > 5
        assert {"cancelled", "completed"} & {bill.status for bill in responses} == {"cancelled", "completed"}
        assert_same(entries, responses, captions)
        total = usage.total(entries)
        spent = await accounts.total(hub.redis, "ann", day)
        assert (spent.nano_usd, spent.tokens, spent.responses) == (total.nano_usd, total.tokens, total.responses)
        shown = await hub.redis.hgetall(session.keys.meta)
        assert (shown[b"usd"], shown[b"tokens"]) == (total.usd.encode(), b"%d" % total.tokens)


async def test_the_last_answer_is_billed_when_the_client_hangs_up_in_its_middle(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cancelled, and what it has cost is heard out before the socket closes."""
    monkeypatch.setattr("realtime_bridge.accounting.LAST_BILL_S", 10.0)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("PARLEY_TRANSCRIPTION_MODEL", "whisper-1")
    opened = turns.Opened(user="ann", door="mobile", turn_mode="utterance")
    session = (await Sessions(hub.redis).create(opened, "ann")).session
    async with (
        running(Options(answer=tone(440, 60.0), speed=1.0, transcription_delay_s=0.3)) as simulator,
        aiohttp.ClientSession() as http,
    ):
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
        resources = Resources(BridgeSettings.load(), Personas.load(None), hub, http, "test:1")
        bridge = SessionBridge(Assignment(EntryId(1, 1), session), resources)
        task = asyncio.create_task(bridge.run())
        uplink = Producer(hub.writer, session.keys.pcm, Marked("test"))
        uplink.append(pcm.Audio(bytes(48_000)))
        await uplink.append(pcm.UtteranceEnd(samples=24_000, arrived_ms=0, source="test"))
        async with asyncio.timeout(20), Consumer(hub.redis, hub.bus, session.keys.down, down.decoder, after=BIRTH) as said:
            async for entry in said:
                if isinstance(entry.message, down.Audio):
                    break
        await uplink.append(End("client_left"))
        assert await asyncio.wait_for(task, 20)
        log = await read(hub.redis, session.keys.turns, turns.decoder)
        entries = [entry.message for entry in log if isinstance(entry.message, Used)]
        responses, captions = billed(simulator)
        assert [bill.status for bill in responses] == ["cancelled"]
        assert responses[0].written.audio > 0
        assert len(captions) == 1
        assert_same(entries, responses, captions)


async def test_what_a_bridge_that_was_killed_had_begun_is_written_down(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client was told of three responses; of one of them it is known what it has cost."""
    monkeypatch.setenv("PARLEY_AFTER_BREAK", "stop")  # else there is a fourth, for the rest of what was begun
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    opened = turns.Opened(user="ann", door="mobile", turn_mode="utterance")
    session = (await Sessions(hub.redis).create(opened, "ann")).session
    epoch = await reign(hub, session, "killed:1")
    said = Producer(hub.writer, session.keys.down, Chained(epoch))
    noted = Producer(hub.writer, session.keys.turns, Chained(epoch))
    known = Used(of="response", id="r1", model=MODEL, at_ms=epoch, status="completed", audio_out=10, nano_usd=640_000)
    await noted.append(known)
    said.append(down.Audio("r1", "i1", 0, 0, bytes(4800)))
    said.append(down.Audio("r2", "i2", 0, 0, bytes(4800)))
    said.append(down.ServerEvent("response.created", Raw(b'{"type":"response.created","response":{"id":"r3"}}')))
    await said.append(down.ServerEvent("response.created", Raw(b'{"type":"response.created","response":{"id":null}}')))
    async with running(Options(speed=0.0)) as simulator, aiohttp.ClientSession() as http:
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
        resources = Resources(BridgeSettings.load(), Personas.load(None), hub, http, "test:1")
        bridge = SessionBridge(Assignment(EntryId(1, 1), session), resources)
        await Producer(hub.writer, session.keys.pcm, Marked("test")).append(End("client_left"))
        assert await asyncio.wait_for(bridge.run(), 10)
        log = await read(hub.redis, session.keys.turns, turns.decoder)
    entries = [entry.message for entry in log if isinstance(entry.message, Used)]
    assert [(used.id, used.status) for used in entries] == [("r1", "completed"), ("r2", LOST), ("r3", LOST)]
    spent = await accounts.total(hub.redis, "ann", usage.day_of(epoch))
    assert (spent.nano_usd, spent.responses, spent.unpriced) == (640_000, 3, 2)
    assert spent.ms >= 0
