"""What a load run has measured, from what its clients said and heard, and what the kernel says of processes."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import msgspec
import pytest

from cli.load import measure
from cli.load.coding import Frame
from cli.load.ledger import Ledger
from cli.load.measure import Measured, Sample, Turn
from cli.load.measured_view import bars
from cli.load.page import page, plot, tick


def ledger() -> Ledger:
    """Two turns of two frames: said at 1.0 and 1.02, heard from 1.5 on; said at 5.0 and 5.02, and never answered."""
    made = Ledger(7, is_alone=True)
    made.say(0, 1, 1.0)
    made.say(1, 1, 1.02)
    made.hear([Frame(7, 0)], 1.5)
    made.hear([Frame(7, 1)], 1.9)
    made.say(2, 1, 5.0)
    made.say(3, 1, 5.02)
    return made


SPOKEN = [range(2), range(2, 4)]


def samples(*connected: int) -> list[Sample]:
    """One a second; the gateway takes ten milliseconds a second and session, and grows."""
    taken, made = 0.0, []
    for at, count in enumerate(connected):
        made.append(Sample(float(at), count, {"gateway": taken}, {"gateway": 50.0 + at}))
        taken += 10.0 * count
    return made


def test_a_turn_is_as_late_as_its_speaker_waits() -> None:
    """From the last frame that was said; one that was not answered has no latency."""
    assert [(turn.at_s, round(turn.latency_ms)) for turn in measure.turns_of(ledger(), SPOKEN)] == [(1.5, 480)]


def test_an_interruption_lasts_until_the_old_answer_is_silent() -> None:
    cuts = list(measure.cuts_of(ledger(), [(1.6, range(2)), (1.95, range(2))]))
    assert [round(cut.stopped_ms) for cut in cuts] == [300, 0]


def test_cost_is_by_session_and_second() -> None:
    """Also while sessions come and go, and where a service began again with nothing."""
    assert measure.session_seconds(samples(2, 2, 2)) == 4
    assert measure.cost(samples(2, 2, 2)) == {"gateway": 10.0}
    assert measure.cost([]) == {}
    began_again = [Sample(0, 1, {"a": 500}, {}), Sample(1, 1, {"a": 0}, {}), Sample(2, 1, {"a": 30}, {})]
    assert measure.cost(began_again) == {"a": 15.0}
    late = [Sample(0, 1, {}, {}), Sample(1, 1, {"a": 900}, {}), Sample(2, 1, {"a": 920}, {})]
    assert measure.cost(late) == {"a": 10.0}
    assert measure.most(samples(1, 1, 1)) == {"gateway": 52.0}


def test_points_stand_where_turns_were_answered() -> None:
    found = measure.points([Turn(0.5, 100), Turn(0.7, 300), Turn(2.5, 50)], samples(1, 2, 2, 2))
    assert [(point.at_s, point.turns) for point in found] == [(0.5, 2), (1.5, 0), (2.5, 1)]
    assert found[0].latency_ms == {"p50": 200.0, "p95": 290.0, "p99": 298.0}
    assert found[1].latency_ms == {}
    assert len(measure.points([], samples(*[1] * 1000))) <= measure.POINTS


def result(trouble: str = "") -> Measured:
    troubles = [trouble] if trouble else []
    classes = [measure.class_of("openai", [(ledger(), SPOKEN, [(1.6, range(2))])], troubles)]
    turns = list(measure.turns_of(ledger(), SPOKEN))
    return measure.measured({"clients": "1 openai"}, {"cores": "2"}, classes, turns, samples(1, 1, 1))


def test_the_result_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(result()), type=Measured) == result()
    assert result().classes[0].turns == 1
    assert result().latency_ms["p50"] == 480.0


def test_the_page_needs_nothing_else_and_believes_nobody() -> None:
    """No script, nothing from elsewhere; what a client was told is text."""
    text = page(result("<script>alert(1)</script>"))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not re.findall(r"""(?:src|href)=|https?://|url\(""", text)
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(drawing)
    assert text.count("<svg") == 5


def test_a_run_without_an_answer_has_a_page_too() -> None:
    nothing = measure.measured({}, {}, [], [], [])
    assert nothing.latency_ms == {}
    assert "Nothing was measured." in page(nothing)


@pytest.mark.parametrize(("least", "step"), [(0, 1), (0.9, 1), (1, 1), (1.1, 2), (3, 5), (7, 10), (130, 200), (0.03, 0.05)])
def test_axes_have_round_numbers(least: float, step: float) -> None:
    assert tick(least) == pytest.approx(step)


def test_a_line_stays_within_its_plot() -> None:
    drawn = plot("Latency", {"p99": [(0, 0), (1, 333), (2, 90)]}, "s")
    points = re.search(r'points="([^"]+)"', drawn)
    assert points is not None
    places = [tuple(map(float, each.split(","))) for each in points[1].split()]
    assert all(56 <= x <= 628 and 12 <= y <= 206 for x, y in places)
    assert places[1][1] < places[2][1] < places[0][1]  # higher is nearer to the top


def test_bars() -> None:
    assert bars([0, 1, 2, 4]) == "▁▃▅█"
    assert bars([]) == ""
    assert bars([0, 0]) == "▁▁"
