"""From times to figures, also where a peer is not installed."""

from __future__ import annotations

import msgspec
import pytest

from bench.media_record import MediaRecord, SessionCost, coding, latency
from bench.media_report import sessions_a_core
from cli.load.figures import Spread


def test_real_time_is_sound_for_work() -> None:
    each = coding("in", "m4a", "ffmpeg", 2.0, [0.125, 0.25, 0.5])
    assert each.real_time == Spread(8.0, 4.0, 16.0)
    assert each.each_ms == Spread(250.0, 125.0, 500.0)


def test_what_is_not_installed_has_no_figure() -> None:
    each = coding("in", "m4a", "pydub", 2.0, [])
    assert (each.real_time, each.each_ms) == (None, None)


def test_a_record_survives_its_file() -> None:
    record = MediaRecord(
        [coding("out", "opus", "in process", 1.0, [0.01])], [latency("opus.ogg", 2, 250, [([0.001, 0.003], 4.0)])]
    )
    assert msgspec.json.decode(msgspec.json.encode(record), type=MediaRecord) == record
    assert record.latencies[0].p50_ms == pytest.approx(2.0)


def test_a_moment_in_which_the_machine_stood_still_is_no_median() -> None:
    quiet, stalled = [0.001] * 100, [0.001] * 90 + [0.3] * 10
    found = latency("opus.ogg", 40, 250, [(quiet, 4.0), (stalled, 6.0), (quiet, 5.0)])
    assert (found.chunks, found.cpu_ms) == (300, 5.0)
    assert found.p99_ms == pytest.approx(1.0)
    assert found.worst_p99_ms == pytest.approx(300.0)


def test_what_a_session_costs_is_of_worker_and_children() -> None:
    assert SessionCost(True, 40, 8.0, 12.0, 8.0).a_core == pytest.approx(50.0)


def test_sessions_a_core_are_those_of_the_most_streams() -> None:
    """10 ms a second in leave room for a hundred, 10 more out for fifty."""
    record = MediaRecord(
        [coding("out", "opus", "in process", 1.0, [0.01])],
        [latency("live_opus.webm", 1, 250, [([0.001], 500.0)]), latency("live_opus.webm", 40, 250, [([0.001], 10.0)])],
    )
    (sentence,) = sessions_a_core(record)
    assert "40 at a time: 100 streams" in sentence
    assert sentence.endswith(": 50.")
    assert sessions_a_core(MediaRecord()) == []
