"""Real coded sound, up and down: whole it breaks no promise, and cut, doubled, swapped or another's it breaks one."""

from __future__ import annotations

from functools import lru_cache

import av
import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler
from av.packet import Packet

from cli.load.alignment import FOUND, Frames, heard_whole, is_of, seams, strangers
from cli.load.doors.coded import Recorder, encode_m4a
from cli.load.doors.ios_narrow import Rate
from cli.load.doors.packed import decoded
from cli.load.judgement import judge
from cli.load.ledger import Break, Ledger
from cli.load.promises import TABLE, broken
from cli.load.sound import RATE, STEP, Samples, like, pcm, samples
from transcoder.encoder import Encoder

CLASSES = ("mobile-aac", "web-opus", "ios-16k")
OURS, OTHERS = 7, 9
FRAMES = 60
AT = 14_500
"""In the middle of a frame, a packet and a cell."""
LENGTHS = (20, 60, 200)


@lru_cache
def up(client: str, session: int) -> Samples:
    """What this session's speech is when it has come to the model."""
    said = bytes(4_800) + pcm(session, 0, FRAMES) + bytes(9_600)
    match client:
        case "mobile-aac":
            return samples(decoded(encode_m4a(said), "mp4"))
        case "web-opus":
            recorder = Recorder()
            return samples(
                decoded(b"".join(recorder.feed(said[at : at + 1_920]) for at in range(0, len(said), 1_920)), "webm")
            )
        case _:
            return samples(Rate(16_000, RATE).feed(Rate(RATE, 16_000).feed(said)))


def down(client: str, audio: Samples) -> Samples:
    """What the client hears of it."""
    said = audio.astype("<i2").tobytes()
    if client == "ios-16k":
        return samples(Rate(16_000, RATE).feed(Rate(RATE, 16_000).feed(said)))
    encoder = Encoder("aac" if client == "mobile-aac" else "opus")
    packets = [packet.data for packet in encoder.encode(said) + encoder.flush()]
    if client == "mobile-aac":
        return samples(decoded(b"".join(packets), "aac"))
    decoder, resampler = av.CodecContext.create("libopus", "r"), AudioResampler(format="s16", layout="mono", rate=RATE)
    assert isinstance(decoder, AudioCodecContext)
    frames = [made for packet in packets for frame in decoder.decode(Packet(packet)) for made in resampler.resample(frame)]
    return samples(b"".join(frame.to_ndarray().tobytes() for frame in frames))


def complaints(client: str, model_heard: Samples, client_heard: Samples, *breaks: Break) -> list[str]:
    """What is said of a session in which this has happened to one turn."""
    ledger = Ledger(OURS, is_coded=True, spoken=FRAMES, breaks=list(breaks))
    ledger.say(0, FRAMES, 10.0)
    asked, heard = heard_whole(model_heard, OURS, FRAMES), heard_whole(client_heard, OURS, FRAMES)
    ledger.foreign_up = strangers(asked.unknown, [(OTHERS, FRAMES)])
    ledger.ask(Frames(OURS).fresh(asked.stretches), len(asked.unknown), seams(asked.stretches))
    ledger.hear(Frames(OURS).fresh(heard.stretches), 20.0)
    ledger.seams_down = [(20.0, seam) for seam in seams(heard.stretches)]
    ledger.unknown_down = heard.unknown
    ledger.foreign_down = strangers(heard.unknown, [(OTHERS, FRAMES)])
    return list(broken(TABLE[client, "none" if not breaks else "line"], judge(ledger)))


def harmed(audio: Samples, how: str, ms: int, others: Samples) -> Samples:
    n = ms * RATE // 1000
    match how:
        case "cut":
            pieces = [audio[:AT], audio[AT + n :]]
        case "doubled":
            pieces = [audio[:AT], audio[AT - n :]]
        case "swapped":
            pieces = [audio[:AT], audio[AT + n : AT + 2 * n], audio[AT : AT + n], audio[AT + 2 * n :]]
        case _:
            pieces = [audio[:AT], others[AT : AT + n], audio[AT + n :]]
    return np.concatenate(pieces)


@pytest.mark.parametrize("client", CLASSES)
def test_what_is_whole_breaks_no_promise(client: str) -> None:
    model_heard = up(client, OURS)
    assert complaints(client, model_heard, down(client, model_heard)) == []


@pytest.mark.parametrize("ms", LENGTHS)
@pytest.mark.parametrize("how", ["cut", "doubled", "swapped", "another's"])
@pytest.mark.parametrize("client", CLASSES)
def test_what_is_harmed_is_seen(client: str, how: str, ms: int) -> None:
    """On the way up, though the client then hears what the model has heard; and on the way down."""
    whole = up(client, OURS)
    worse = harmed(whole, how, ms, up(client, OTHERS))
    heard = down(client, worse)
    ways = complaints(client, worse, heard), complaints(client, whole, heard)
    expected = {
        "cut": ("are cut out of what the model heard", "are cut out of what was heard"),
        "doubled": ("follow themselves in what the model heard", "of what was heard follow themselves"),
        "swapped": ("the model", "heard"),
        "another's": ("the model", "heard"),
    }[how]
    for sentences, words in zip(ways, expected, strict=True):
        assert any(words in sentence for sentence in sentences), sentences
        if how == "another's" and ms > 20:
            assert any("of other sessions" in sentence for sentence in sentences)
        if how in ("cut", "doubled"):
            assert sentences is ways[1] or not any("what was heard" in sentence for sentence in sentences)
            assert any(f"{ms} ms" in sentence or "unlimited" in sentence for sentence in sentences)


def test_what_a_break_may_cost_is_no_complaint_and_more_is() -> None:
    """350 ms again and one entry more; nothing is lost on the way down."""
    whole = up("web-opus", OURS)
    cut = Break("cut", 15.0, 15.5)
    for ms, kept in ((200, True), (440, True), (480, False)):
        heard = down("web-opus", harmed(whole, "doubled", ms, whole))
        said = [sentence for sentence in complaints("web-opus", whole, heard, cut) if "announced" not in sentence]
        assert (not said) == kept, (ms, said)
    heard = down("web-opus", harmed(whole, "cut", 20, whole))
    assert any("cut out" in sentence for sentence in complaints("web-opus", whole, heard, cut))


@pytest.mark.parametrize("frames", [1.0, 2.0])
def test_what_a_break_leaves_of_a_turn_is_known_to_a_frame(frames: float) -> None:
    """60 ms are missing so many frames before its end; the client's codec begins anew beside them. More is seen."""
    whole = up("web-opus", OURS)
    (stretch,) = heard_whole(whole, OURS, FRAMES).stretches
    end = stretch.at - stretch.said + FRAMES * STEP
    left = round(end - frames * STEP)
    model_heard = np.concatenate([whole[: left - 3 * STEP], whole[left:]])
    cut = Break("cut", 9.5, 15.0)
    assert complaints("web-opus", model_heard, down("web-opus", model_heard), cut) == []
    lacks_two = down("web-opus", model_heard[: left - 5 * STEP])
    assert any("not heard" in sentence for sentence in complaints("web-opus", model_heard, lacks_two, cut))
    lacks_one = down("web-opus", np.concatenate([model_heard[: 20 * STEP], model_heard[21 * STEP :]]))
    assert any("cut out" in sentence for sentence in complaints("web-opus", model_heard, lacks_one, cut))


@pytest.mark.parametrize("client", CLASSES)
def test_the_threshold_lies_between_ones_own_sound_and_all_others(client: str) -> None:
    """20 ms of what was said and the same of what came out, at each place; and others' sound at its most likely place."""
    audio = down(client, up(client, OURS))
    (stretch,) = heard_whole(audio, OURS, FRAMES).stretches
    said = samples(pcm(OURS, 0, FRAMES))
    ours = [
        like(audio[stretch.at + at : stretch.at + at + 480], said[stretch.said + at : stretch.said + at + 480])
        for at in range(0, stretch.length - 480, 120)
    ]
    assert min(ours) > FOUND + 0.1
    assert not is_of(audio, OTHERS, 300)
