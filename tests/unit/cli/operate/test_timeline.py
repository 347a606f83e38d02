"""Both voices on one line of time."""

from __future__ import annotations

import io
import wave
from array import array

from cli.operate.timeline import BEHIND_S, RATE, Timeline, endless_header, mono, stereo


def pcm(value: int, ms: int) -> bytes:
    """So much of one value."""
    return array("h", [value] * (RATE * ms // 1000)).tobytes()


def runs(samples: array[int]) -> list[tuple[int, float]]:
    """(value, seconds), neighbours joined."""
    found: list[list[int]] = []
    for sample in samples:
        if found and found[-1][0] == sample:
            found[-1][1] += 1
        else:
            found.append([sample, 1])
    return [(value, count / RATE) for value, count in found]


def test_each_piece_stands_where_it_is_heard() -> None:
    """The user's where it came, the model's one behind the other though it came at once."""
    tape = Timeline()
    tape.put("user", pcm(1, 1000), 1.0)
    tape.put("model", pcm(2, 1000), 3.0, "a")
    tape.put("model", pcm(3, 1000), 3.0, "a")
    user, model = tape.rest()
    assert runs(user) == [(0, 1.0), (1, 1.0), (0, 3.0)]
    assert runs(model) == [(0, 3.0), (2, 1.0), (3, 1.0)]


def test_a_piece_that_comes_a_little_late_follows_without_a_gap() -> None:
    tape = Timeline()
    tape.put("user", pcm(1, 100), 1.0)
    tape.put("user", pcm(2, 100), 1.3)
    tape.put("user", pcm(3, 100), 2.3)
    assert runs(tape.rest()[0]) == [(0, 1.0), (1, 0.1), (2, 0.1), (0, 1.1), (3, 0.1)]


def test_what_was_interrupted_is_not_heard() -> None:
    """Nor what follows it; the next answer stands where it came."""
    tape = Timeline()
    tape.put("model", pcm(1, 3000), 0.0, "a")
    tape.put("model", pcm(2, 3000), 0.0, "b")
    tape.interrupted("a", 1500)
    tape.interrupted("unknown", 0)
    tape.put("model", pcm(3, 500), 4.0, "c")
    assert runs(tape.rest()[1]) == [(1, 1.5), (0, 2.5), (3, 0.5)]


def test_it_is_given_out_a_moment_later_and_once() -> None:
    """Cut anywhere it is the same; both sides are equally long."""
    tape, given = Timeline(), [array("h"), array("h")]
    for tenth in range(30):
        now = tenth / 10
        if tenth == 10:
            tape.put("model", pcm(7, 1000), now, "a")
        if tenth < 20:
            tape.put("user", pcm(1 + tenth % 2, 100), now)
        for side, part in zip(given, tape.due(now), strict=True):
            side.extend(part)
        assert len(given[0]) == len(given[1]) == tape.given == max(0, round((now - BEHIND_S) * RATE))
    for side, part in zip(given, tape.rest(), strict=True):
        side.extend(part)
    assert runs(given[0])[:20] == [(1 + tenth % 2, 0.1) for tenth in range(20)]
    assert (7, 1.0) in runs(given[1])


def test_what_was_given_out_stays() -> None:
    tape = Timeline()
    tape.put("model", pcm(1, 2000), 0.0, "a")
    first = tape.due(1.0 + BEHIND_S)[1]
    tape.interrupted("a", 500)
    assert runs(first) == [(1, 1.0)]
    assert runs(tape.rest()[1]) == []


def test_channels() -> None:
    assert stereo(array("h", [1, 2]), array("h", [3, 4])) == array("h", [1, 3, 2, 4]).tobytes()
    assert mono(array("h", [1, 30_000]), array("h", [3, 30_000])) == array("h", [4, 32_767]).tobytes()


def test_the_header_of_a_pipe_is_a_waves() -> None:
    with wave.open(io.BytesIO(endless_header(2) + bytes(8))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)


def test_what_is_missing_is_silent() -> None:
    """The user's from when it comes again; the model's, which comes ahead, from its own place."""
    tape = Timeline()
    tape.put("user", pcm(1, 1000), 0.0)
    tape.put("model", pcm(2, 1000), 0.0, "a")
    tape.missing()
    tape.put("user", pcm(3, 500), 1.3)
    tape.put("model", pcm(4, 1000), 0.5, "a", 3000)
    tape.put("model", pcm(5, 1000), 0.6, "a", 4000)
    user, model = tape.rest()
    assert runs(user) == [(1, 1.0), (0, 0.3), (3, 0.5), (0, 3.2)]
    assert runs(model) == [(2, 1.0), (0, 2.0), (4, 1.0), (5, 1.0)]


def test_who_comes_into_the_middle_of_an_answer_knows_where_it_is_cut() -> None:
    tape = Timeline()
    tape.put("model", pcm(1, 2000), 0.0, "a", 1000)
    tape.interrupted("a", 1500)
    assert runs(tape.rest()[1]) == [(1, 0.5)]
