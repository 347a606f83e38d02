"""What the pages are made of, without sound and without a server behind it: each module, in the browser that runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Page

from gateway.app import serving
from gateway.doors.openai_audio import frame
from gateway.settings import GatewaySettings
from runtime.embedded import EmbeddedServer
from streams import down
from streams.coding import Coding
from streams.ids import EntryId
from tests.browser.stage import chromium, likeness, load
from transcoder.play_parts import CodedPart

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def page(redis_server: EmbeddedServer, chromium_path: str) -> AsyncIterator[Page]:
    """Of this server, so that its modules can be imported."""
    async with serving(GatewaySettings(PORT=0, REDIS_URL=redis_server.url)) as url, chromium(chromium_path) as browser:
        page = await (await browser.new_context()).new_page()
        await page.goto(url)
        yield page


async def run(page: Page, module: str, body: str) -> Any:
    """What the body of this function, which gets the module as `m`, returns."""
    return await page.evaluate(f"async () => {{ const m = await import('/static/js/{module}.js'); {body} }}")


async def test_numbers_have_no_holes_and_what_is_not_safe_is_kept(page: Page) -> None:
    """Events stay until they are acknowledged and ten seconds old; where one is gone stands one that says nothing."""
    assert await run(
        page,
        "ring",
        """
        const ring = new m.Ring();
        for (let n = 0; n < 4; n += 1) ring.add({ type: "input_audio_buffer.append", audio: "AAAA" }, n * 1000);
        const numbers = (from) => ring.from(from).again.map(({ useq }) => useq);
        const out = { all: numbers(1), unacked: [ring.oldestUnacked] };
        ring.ack(2, 4000);
        out.acked = numbers(1);
        out.unacked.push(ring.oldestUnacked);
        ring.ack(2, 10_500);
        out.old = { numbers: numbers(1), lost: ring.from(1).lost, text: JSON.parse(ring.from(1).again[0].text) };
        ring.ack(4, 10_600);
        out.unacked.push(ring.oldestUnacked);
        ring.retreat(2);  // a failover: the server has less than it had acknowledged
        out.unacked.push(ring.oldestUnacked);
        return out;
        """,
    ) == {
        "all": [1, 2, 3, 4],
        "acked": [1, 2, 3, 4],
        "old": {"numbers": [1, 2, 3, 4], "lost": 1, "text": {"type": "input_audio_buffer.append", "audio": "", "useq": 1}},
        "unacked": [0, 2000, None, 2000],
    }


async def test_speech_that_has_no_room_is_not_taken(page: Page) -> None:
    """All else is: a commit or a text is small, and nobody says many while the line is down."""
    assert await run(
        page,
        "ring",
        """
        const ring = new m.Ring(200);
        const speech = { type: "input_audio_buffer.append", audio: "A".repeat(60) };
        const out = [ring.add(speech, 0)?.useq, ring.add(speech, 0)?.useq];
        out.push(ring.add({ type: "input_audio_buffer.commit" }, 0)?.useq);
        ring.ack(2, 0);
        out.push(ring.add(speech, 0)?.useq);
        return out;
        """,
    ) == [1, None, 2, 3]


async def test_a_redial_waits_longer_each_time_and_never_in_step(page: Page) -> None:
    waits = await run(page, "backoff", "return [1, 2, 3, 20].map((n) => [m.delay(n, 0), m.delay(n, 1)])")
    assert waits == [[150, 300], [300, 600], [600, 1200], [4000, 8000]]


async def test_audio_survives_base64_and_any_cut(page: Page) -> None:
    """Also a cut through the middle of a sample."""
    assert (
        await run(
            page,
            "pcm",
            """
        const said = Int16Array.from({ length: 70_000 }, (_, i) => (i * 7919) % 65536 - 32768);
        const bytes = m.decode(m.encode(said));
        const same = (a) => a.length === said.length && a.every((sample, i) => sample === said[i]);
        return [1, 2, 3, 961, 4096].map((size) => {
          const joiner = new m.Joiner();
          const heard = [];
          for (let at = 0; at < bytes.length; at += size) heard.push(...joiner.join(bytes.subarray(at, at + size)));
          return same(heard);
        });
        """,
        )
        == [True] * 5
    )


async def test_server_sent_events_are_read_in_any_cut(page: Page) -> None:
    assert await run(
        page,
        "sse",
        r"""
        const text = ": keepalive\n\nevent: a\nid: s/1-2\ndata: {\"x\":1}\n\n"
          + "data: one\r\ndata:two\r\n\r\nevent: nothing\n\ndata: é\n\n";
        const results = [1, 3, 7, 1000].map((size) => {
          const parser = new m.EventParser();
          const events = [];
          for (let at = 0; at < text.length; at += size) events.push(...parser.feed(text.slice(at, at + size)));
          return JSON.stringify(events);
        });
        return { events: JSON.parse(results[0]), same: new Set(results).size };
        """,
    ) == {
        "same": 1,
        "events": [
            {"type": "a", "data": '{"x":1}', "id": "s/1-2"},
            {"type": "message", "data": "one\ntwo", "id": None},
            {"type": "message", "data": "é", "id": None},
        ],
    }


async def test_a_token_that_is_entered_while_another_is_refused_stays(page: Page) -> None:
    """The answer to the first comes late, and is not about the second."""
    assert await run(
        page,
        "admission",
        """
        const admission = new m.Admission();
        const original = window.fetch;
        try {
          let refuse;
          window.fetch = () => new Promise((resolve) => { refuse = () => resolve(new Response("", { status: 401 })); });
          admission.token = "wrong";
          const asking = admission.ticket().catch((error) => error.message);
          admission.token = "right";
          refuse();
          return [await asking, admission.token];
        } finally {
          window.fetch = original;
          admission.token = "";
        }
        """,
    ) == ["The server does not accept this token, or it has expired. Enter another one.", "right"]


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
async def test_a_microphone_of_another_rate_is_resampled(page: Page, rate: int) -> None:
    """Without clicks where blocks meet: a tone stays this tone to 60 dB."""
    length, error = await run(
        page,
        "resampler",
        f"""
        const resampler = new m.Resampler({rate}, 24_000);
        const heard = [];
        for (let at = 0; at < {rate}; at += 128) {{
          const tone = (_, i) => Math.sin((2 * Math.PI * 1000 * (at + i)) / {rate}) / 2;
          const block = Float32Array.from({{ length: 128 }}, tone);
          heard.push(...resampler.process(block));
        }}
        const late = 24_000 * 24 / {rate};
        let worst = 0;
        heard.forEach((sample, i) => {{
          const at = (i - late) / 24_000;
          if (i > 200) worst = Math.max(worst, Math.abs(sample - Math.sin(2 * Math.PI * 1000 * at) / 2));
        }});
        return [heard.length, worst];
        """,
    )
    assert abs(length - 24_000) < 130
    assert error < 1e-3


async def test_what_is_said_is_shown_in_its_order(page: Page) -> None:
    """Also when a caption comes after the answer, and when an item's place is told late."""
    assert await run(
        page,
        "conversation",
        """
        const c = new m.Conversation();
        const hear = (type, fields) => c.hear({ type, ...fields }, 0);
        const added = (id, role, previous_item_id, text) =>
          hear("conversation.item.added", { previous_item_id, item: { id, role, type: "message", content: [{ text }] } });
        const says = (delta) =>
          hear("response.output_audio_transcript.delta", { response_id: "r1", item_id: "a1", content_index: 0, delta });
        const caption = (kind, fields) =>
          hear(`conversation.item.input_audio_transcription.${kind}`, { item_id: "u1", content_index: 0, ...fields });
        hear("input_audio_buffer.speech_started", { item_id: "u1", audio_start_ms: 1000 });
        hear("input_audio_buffer.speech_stopped", { item_id: "u1", audio_end_ms: 3500 });
        hear("response.created", { response: { id: "r1" } });
        hear("response.output_item.added", { response_id: "r1", item: { id: "a1", type: "message", role: "assistant" } });
        says("Good ");
        added("u1", "user", null);
        added("a1", "assistant", "u1");
        says("morning.");
        caption("delta", { delta: "Hel" });
        caption("completed", { transcript: "Hello" });
        added("u3", "user", "a1", "third");
        added("u2", "user", "a1", "second");
        hear("response.done", { response: { id: "r1", status: "completed", output: [{ id: "a1" }] } });
        return { items: c.items.map(({ id, text }) => `${id} ${text}`), seconds: c.items[0].seconds, phase: c.phase };
        """,
    ) == {"items": ["u1 Hello", "a1 Good morning.", "u2 second", "u3 third"], "seconds": 2, "phase": "listening"}


async def test_late_audio_of_an_interrupted_answer_is_not_played(page: Page) -> None:
    assert await run(
        page,
        "conversation",
        """
        const c = new m.Conversation();
        const place = { did: "1-1", content_index: 0, delta: "AAAA" };
        const delta = (response_id, item_id) => ({ type: "response.output_audio.delta", response_id, item_id, ...place });
        const log = [];
        const hear = (event) => log.push([c.hear(event, 1000).map((effect) => effect.do), c.phase]);
        hear({ type: "response.created", response: { id: "r1" } });
        hear(delta("r1", "a1"));
        hear({ type: "input_audio_buffer.speech_started", item_id: "u1", audio_start_ms: 0 });
        hear(delta("r1", "a1"));
        hear({ type: "response.done", response: { id: "r1", status: "cancelled", output: [{ id: "a1" }] } });
        hear({ type: "input_audio_buffer.speech_stopped", item_id: "u1", audio_end_ms: 900 });
        hear({ type: "response.created", response: { id: "r2" } });
        hear(delta("r2", "a2"));
        c.began("a2", 1234);
        return { log, latency: c.latencyMs, status: c.items.map(({ id, status }) => `${id} ${status}`) };
        """,
    ) == {
        "log": [
            [[], "thinking"],
            [["play"], "speaking"],
            [["flush"], "interrupted"],
            [[], "interrupted"],
            [[], "interrupted"],
            [[], "thinking"],
            [[], "thinking"],
            [["play"], "speaking"],
        ],
        "latency": 734,
        "status": ["a1 interrupted", "u1 live", "a2 live"],
    }


async def test_late_packets_of_an_interrupted_answer_are_not_played(page: Page) -> None:
    """A frame does not name its response: the item does."""
    assert await run(
        page,
        "conversation",
        """
        const c = new m.Conversation();
        const hear = (event) => c.hear(event, 1000).map((effect) => effect.do);
        const frame = (item) => hear({ type: "parley.audio", item, part: 0, did: "1-1", packets: [] });
        const adds = (response_id, id) =>
          hear({ type: "response.output_item.added", response_id, item: { id, type: "message", role: "assistant" } });
        adds("r1", "a1");
        const out = [frame("a1"), hear({ type: "input_audio_buffer.speech_started", item_id: "u1", audio_start_ms: 0 })];
        out.push(frame("a1"));
        adds("r2", "a2");
        return [...out, frame("a2"), c.phase];
        """,
    ) == [["play"], ["flush"], [], ["play"], "interrupted"]


async def test_a_notice_is_told(page: Page) -> None:
    """It interrupts nothing."""
    assert await run(
        page,
        "conversation",
        """
        const c = new m.Conversation();
        return c.hear({ type: "parley.notice", code: "usage_limit_near", message: "You have used 80 %." }, 1000);
        """,
    ) == [{"do": "tell", "sentence": "You have used 80 %."}]


async def test_packets_are_read_as_the_door_writes_them(page: Page) -> None:
    packets = down.Tail([1, 3], -312, 480, item="item_é", part=3, response="r", padding=17)
    data = frame(EntryId(7, (1 << 53) - 1), "item_é", 3, b"\x01abc", packets)
    assert await run(
        page,
        "packets",
        f"""
        const {{ packets, ...rest }} = m.readFrame(Uint8Array.from({list(data)}));
        return {{ ...rest, packets: packets.map((packet) => [...packet]) }};
        """,
    ) == {
        "type": "parley.audio",
        "item": "item_é",
        "part": 3,
        "did": "7-9007199254740991",
        "isTail": True,
        "position": -312,
        "samples": 480,
        "padding": 17,
        "packets": [[1], [97, 98, 99]],
    }


def part_frames(item: str, pcm: bytes) -> list[list[int]]:
    """What the door sends of a part of an answer, a tenth of a second at a time."""
    audio = [down.Audio("r", item, 0, at // 48, pcm[at : at + 4_800]) for at in range(0, len(pcm), 4_800)]
    part = CodedPart("opus", Coding(64_000), audio[0])
    frames = []
    for n, piece in enumerate(audio, 1):
        coded = part.feed(piece)
        frames.append(frame(EntryId(1, n), item, 0, coded.audio, coded.packets))
    data, tail = part.end()
    return [[*each] for each in [*frames, frame(EntryId(1, len(audio) + 1), item, 0, data, tail)]]


_DECODED = """
const { readFrame } = await import("/static/js/packets.js");
const heard = {};
const dids = [];
const decoder = new m.OpusDecoder({
  onSamples: ({ item, did }, samples) => {
    (heard[item] ??= []).push(...samples);
    dids.push(did);
  },
  onFull: () => dids.push("full"),
  onBroken: () => dids.push("broken"),
});
const feed = (frames) => frames.forEach((frame) => decoder.decode(readFrame(Uint8Array.from(frame))));
const idle = () => new Promise((resolve) => {
  const look = () => (decoder.isBusy ? setTimeout(look) : resolve());
  look();
});
"""


async def test_packets_become_the_samples_they_were_made_of(page: Page) -> None:
    """Part by part, each as long as it was, and each frame once."""
    one, two = load("speech_espeak.flac", 24_000)[:30_011], load("speech_jfk.flac", 24_000)[:20_007]
    first, second = part_frames("one", one.tobytes()), part_frames("two", two.tobytes())
    heard, dids = await run(page, "opus", f"{_DECODED} feed({first}); feed({second}); await idle(); return [heard, dids];")
    assert dids == [f"1-{n}" for frames in (first, second) for n in range(1, len(frames) + 1)]
    for said, item in ((one, "one"), (two, "two")):
        assert len(heard[item]) == len(said)
        assert likeness(np.array(heard[item]), said) > 0.95


async def test_what_was_reset_is_not_given(page: Page) -> None:
    """The next answer is, from its beginning."""
    said = load("speech_espeak.flac", 24_000)[:12_000]
    frames = part_frames("one", said.tobytes())
    after = part_frames("two", said.tobytes())
    heard, busy = await run(
        page,
        "opus",
        f"{_DECODED} feed({frames[:-2]}); decoder.reset(); feed({after}); await idle(); return [heard, decoder.isBusy];",
    )
    assert heard.keys() == {"two"}
    assert len(heard["two"]) == len(said)
    assert not busy


async def test_a_tail_counts_as_got_with_the_event_behind_it(page: Page) -> None:
    """If the line breaks between them the tail comes again, and is heard once."""
    assert await run(
        page,
        "line",
        """
        const lines = [];
        const dialled = () => new Promise((resolve) => {
          const look = () => (lines.at(-1).asked ? resolve() : setTimeout(look));
          look();
        });
        class Fake {
          constructor(handlers) { Object.assign(this, handlers); lines.push(this); }
          async dial(asked) { this.asked = asked; }
          send() {}
          end() {}
          drop() {}
        }
        const line = new m.Line({ ticket: async () => null, headers: {} }, Fake, { audio: "opus" });
        const heard = [];
        line.addEventListener("event", ({ detail }) => heard.push(`${detail.type} ${detail.did}`));
        line.open();
        await dialled();
        const tail = { type: "parley.audio", did: "1-3", isTail: true };
        lines[0].onEvent({ type: "session.created", session: { id: "s" }, did: "1-1" });
        lines[0].onEvent({ type: "parley.audio", did: "1-2", isTail: false });
        lines[0].onEvent(tail);
        line.redial();
        await dialled();
        lines[1].onEvent({ type: "parley.resumed", next_useq: 1 });
        lines[1].onEvent(tail);
        lines[1].onEvent({ type: "response.output_audio.done", did: "1-3" });
        lines[1].onEvent(tail);
        lines[1].onEvent({ type: "response.output_audio.done", did: "1-3" });
        line.end();
        return { heard, asked: [lines[1].asked.after, lines[1].asked.query] };
        """,
    ) == {
        "heard": ["session.created 1-1", "parley.audio 1-2", "parley.audio 1-3", "response.output_audio.done 1-3"],
        "asked": ["1-2", {"audio": "opus"}],
    }


async def test_a_wave_file_has_the_right_header(page: Page) -> None:
    """As Python reads it, `test_voice.py` shows; here, that an hour is the end of a tape."""
    assert await run(
        page,
        "tape",
        """
        const tape = new m.Tape();
        const piece = new Int16Array(m.MAX_SAMPLES / 100);
        for (let n = 0; n < 101; n += 1) tape.add(piece);
        return [tape.samples === m.MAX_SAMPLES, tape.wav().size === 44 + 2 * m.MAX_SAMPLES];
        """,
    ) == [True, True]
