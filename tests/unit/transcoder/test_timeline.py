"""Both voices on one time line, in milliseconds of test."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from transcoder.timeline import Timeline, place, timeline
from transcoder.track_lines import (
    AnyLine,
    Generated,
    Gone,
    Happened,
    Played,
    Plays,
    Spoken,
    Stretch,
    Switch,
    Whole,
)

T = 1_700_000_000_000
MS = 24
ON = Switch(T, True, "api")


def spoken(arrivals: Sequence[float], ms: int = 40) -> list[Spoken]:
    return [Spoken(T + round(at), n * ms * MS, ms * MS) for n, at in enumerate(arrivals)]


def generated(ms: int, item: str = "i", first: int = 0) -> list[Generated]:
    return [Generated(T, f"5-{n}", item, 0, n * 100, (first + n * 100) * MS, 100 * MS) for n in range(ms // 100)]


def plays(at: int, *stretches: Stretch, connection: str = "c", **more: object) -> Plays:
    since = min((each.begins_ms for each in stretches), default=T + at)
    line = Plays(T + at, connection, "0-0", False, since, stretches, ())
    return msgspec.structs.replace(line, **more)


def stretch(at: float, from_ms: float, ms: float, item: str = "i") -> Stretch:
    return Stretch(item, 0, from_ms, ms, T + at)


def made(*lines: AnyLine) -> Timeline:
    found = timeline(lines)
    assert found is not None
    return found


def spans(found: Timeline, voice: str) -> list[tuple[int, int, int]]:
    """Where it is, from which place in its track, for how long: in ms from T."""
    joined: list[list[int]] = []
    begin = (found.begins_ms - T) * MS
    for each in getattr(found, voice):
        if joined and joined[-1][0] + joined[-1][2] == each.at + begin and joined[-1][1] + joined[-1][2] == each.offset:
            joined[-1][2] += each.samples
        else:
            joined.append([each.at + begin, each.offset, each.samples])
    return [(round(at / MS), round(offset / MS), round(samples / MS)) for at, offset, samples in joined]


def test_speech_that_comes_unevenly_was_spoken_evenly() -> None:
    jitter = np.random.default_rng(1).uniform(0, 60, 100)
    jitter[30] = 0.0
    found = made(ON, *spoken([100 + 40 * n + 40 + jitter[n] for n in range(100)]))
    assert spans(found, "user") == [(100, 0, 4000)]


def test_a_stall_is_no_pause() -> None:
    """All that was held up comes at once."""
    times = [140 + 40 * n for n in range(100)]
    found = made(ON, *spoken([max(at, 3000) if at > 2000 else at for at in times]))
    assert spans(found, "user") == [(100, 0, 4000)]


def test_a_pause_is_one() -> None:
    times = [140 + 40 * n + (2000 if n >= 50 else 0) for n in range(100)]
    assert spans(made(ON, *spoken(times)), "user") == [(100, 0, 2000), (4100, 2000, 2000)]


def test_what_is_sent_at_once_is_spoken_in_its_time() -> None:
    """It does not move what was said before."""
    times = [*(140 + 40 * n for n in range(50)), *([2200.0] * 50)]
    assert spans(made(ON, *spoken(times)), "user")[0][0] == 100


def test_a_microphone_whose_clock_is_slow_stays_near() -> None:
    """A thousandth, for a quarter of an hour: nearly a second."""
    found = made(ON, *spoken([40 * 1.001 * (n + 1) for n in range(22_000)]))
    last = found.user[-1]
    assert last.at + last.samples == pytest.approx(22_000 * 40 * 1.001 * MS, abs=40 * MS)


def test_a_whole_recording_ends_when_it_came() -> None:
    """Also what was said before the connection."""
    pieces = [Spoken(T + 500, n * 1000 * MS, 1000 * MS) for n in range(3)]
    found = made(ON, *pieces, Whole(T + 501), Spoken(T + 9100, 3000 * MS, 500 * MS), Whole(T + 9120, T + 9000))
    assert spans(found, "user") == [(-2500, 0, 3000), (8500, 3000, 500)]
    assert found.begins_ms == T - 2500


def test_an_answer_is_where_it_was_heard() -> None:
    found = made(ON, *generated(1000), plays(300, stretch(250, 0, 1000)))
    assert spans(found, "model") == [(250, 0, 1000)]


def test_an_interrupted_one_is_cut() -> None:
    """The later word counts from its moment on."""
    found = made(ON, *generated(1000), plays(300, stretch(250, 0, 1000)), plays(700, stretch(250, 0, 440)))
    assert spans(found, "model") == [(250, 0, 440)]


def test_what_was_planned_and_taken_back_is_not_heard() -> None:
    lines = plays(300, stretch(250, 0, 1000)), plays(400, since_ms=T + 250.0)
    assert spans(made(ON, *generated(1000), *lines), "model") == []


def test_the_clients_word_counts() -> None:
    """It plays later than its gateway thought, and its reports take their time."""
    reports = tuple(Played("i", 0, ms, T + 400 + ms + late) for ms, late in ((100, 30), (200, 0), (400, 80), (800, 5)))
    found = made(ON, *generated(1000), plays(300, stretch(250, 0, 1000)), plays(1300, reports=reports, since_ms=T + 9e6))
    assert spans(found, "model") == [(400, 0, 1000)]


def test_a_plan_in_pieces_is_one_where_the_client_says_so() -> None:
    """Each report has moved what was yet to come; nothing of it is lost in between."""
    lines = [
        plays(300, stretch(250, 0, 1000)),
        plays(400, stretch(393, 100, 900), reports=(Played("i", 0, 100, T + 393.0),)),
        plays(600, stretch(603, 300, 700), reports=(Played("i", 0, 300, T + 603.0),)),
        plays(900, stretch(892, 600, 400), reports=(Played("i", 0, 600, T + 892.0),)),
    ]
    ((at, offset, ms),) = spans(made(ON, *generated(1000), *lines), "model")
    assert (offset, ms) == (0, 1000)
    assert abs(at - 293) <= 1


def test_who_comes_back_plays_on_what_it_has() -> None:
    """It had a second in its player when the connection broke; what comes then is heard behind that."""
    lines: list[AnyLine] = [plays(100, stretch(100, 0, 1000)), Gone(T + 300, "c")]
    lines.append(plays(500, stretch(450, 1000, 1000), connection="d", after="5-9"))
    assert spans(made(ON, *generated(2000), *lines), "model") == [(100, 0, 2000)]


def test_what_never_came_is_heard_when_it_is_sent_again() -> None:
    """The client says itself what it has got: half of what was sent."""
    lines = [
        plays(100, stretch(100, 0, 1000)),
        plays(1500, stretch(1450, 500, 1500), connection="d", after="5-4", exact=True),
    ]
    assert spans(made(ON, *generated(2000), *lines), "model") == [(100, 0, 500), (1450, 500, 1500)]


def test_what_a_gateway_did_not_live_to_tell_was_heard() -> None:
    """It had sent it, and the client goes on behind it."""
    lines: list[AnyLine] = [plays(100, stretch(100, 0, 600))]
    lines.append(plays(1500, stretch(1450, 900, 1100), connection="d", after="5-8", exact=True))
    assert spans(made(ON, *generated(2000), *lines), "model") == [(100, 0, 900), (1450, 900, 1100)]


def test_a_pause_of_the_recording_is_silent() -> None:
    lines: list[AnyLine] = [ON, Switch(T + 1000, False, "api"), Switch(T + 2000, True, "api")]
    found = made(*lines, *spoken([40 * (n + 1) for n in range(75)]), *generated(3000), plays(10, stretch(0, 0, 3000)))
    assert spans(found, "user") == spans(found, "model") == [(0, 0, 1000), (2000, 2000, 1000)]


def test_nothing_from_before_somebody_agreed_is_in_it() -> None:
    lines: list[AnyLine] = [
        Switch(T, False, ""),
        Switch(T + 1000, True, "api"),
        Happened(T + 500, "secret"),
        Happened(T + 1500, "told"),
    ]
    found = made(*lines, *spoken([40 * (n + 1) for n in range(50)]))
    assert spans(found, "user") == [(1000, 1000, 1000)]
    assert [line["type"] for line in found.log] == ["recording.off", "recording.on", "user.audio", "told"]


def test_nobody_ever_agreed() -> None:
    assert timeline([Switch(T, False, ""), *spoken([40])]) is None


def test_lines_survive_the_disk() -> None:
    lines: list[AnyLine] = [ON, *spoken([40]), *generated(100), plays(1, stretch(0, 0, 100)), Gone(T, "c"), Whole(T)]
    lines += [Happened(T, "x"), Happened(T, "y", msgspec.Raw(b'{"a":1}'))]
    decode = msgspec.json.Decoder(AnyLine).decode
    assert [decode(msgspec.json.encode(line)) for line in lines] == lines


def test_any_order_of_delays_keeps_the_order_of_speech() -> None:
    """Nothing overlaps by more than what a fast clock may have to catch up, and nothing is lost."""
    random = np.random.default_rng(7)
    for _ in range(50):
        samples = random.integers(100, 24_000, 60)
        known = np.cumsum(samples) + random.integers(0, 24_000, 60)
        begins = place(list(zip(samples.tolist(), known.tolist(), strict=True)), 1000)
        ends = np.array(begins) + samples
        assert (np.array(begins)[1:] - ends[:-1] >= -100 * MS - 20 * MS).all()
