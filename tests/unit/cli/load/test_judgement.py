"""What is counted when frames go missing, come twice, or come to somebody else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cli.load.alignment import Seam
from cli.load.coding import Frame
from cli.load.judgement import NEVER_MS, judge, lost_up, went_back
from cli.load.ledger import Break, Ledger
from cli.load.sound import STEP


def frames(numbers: Iterable[int], session: int = 7) -> list[Frame]:
    return [Frame(session, number) for number in numbers]


def spoken(count: int = 50, asked: Sequence[Sequence[int]] | None = None, heard: Iterable[int] | None = None) -> Ledger:
    """A turn of so many frames, one each 20 ms from second 10 on; the model is asked and heard as said, or whole."""
    ledger = Ledger(7)
    for number in range(count):
        ledger.say(number, 1, 10 + number / 50)
    for utterance in asked if asked is not None else [range(count)]:
        ledger.ask(frames(utterance), 0)
    for number in heard if heard is not None else range(count):
        ledger.hear(frames([number]), 20 + number / 50)
    return ledger


def test_a_whole_turn_has_nothing_to_count() -> None:
    figures = judge(spoken())
    assert (figures.sent, figures.down_due) == (50, 50)
    assert not any(value for name, value in vars_of(figures).items() if name not in ("sent", "down_due"))


def vars_of(figures: object) -> dict[str, float]:
    return dict(vars(figures))


def test_what_did_not_reach_the_model_is_lost_on_the_way_up() -> None:
    """Not on the way down; without a break there is no excuse for it."""
    figures = judge(spoken(asked=[[*range(10), *range(20, 50)]], heard=[*range(10), *range(20, 50)]))
    assert (figures.up_lost, figures.up_gaps, figures.down_lost) == (10, 1, 0)
    assert figures.up_lost_before_ms == NEVER_MS


def test_what_is_compressed_is_not_known_beside_a_hole() -> None:
    """After a break a codec begins anew there: a frame at its border may be too unlike itself. Two on end are missing, and
    so is a whole utterance."""
    asked = [[*range(10), *range(20, 40)], [*range(40, 50)], [50]]
    everything = [number for each in asked for number in each]
    for missing, lost in (({0}, 0), ({9, 20}, 0), ({39}, 0), ({40}, 0), ({39, 40}, 2), ({8, 9}, 2), ({30}, 1), ({50}, 1)):
        ledger = spoken(51, asked, [number for number in everything if number not in missing])
        ledger.is_coded = True
        assert not_heard(ledger) == len(missing), "nothing was broken"
        ledger.breaks.append(Break("cut", 10.1, 10.5))
        assert not_heard(ledger) == lost
        ledger.is_coded = False
        assert not_heard(ledger) == len(missing), "each sample is known"


def test_what_was_over_before_anything_broke_is_known_to_its_borders() -> None:
    ledger = spoken(60, [range(30), range(30, 60)], [*range(29), *range(30, 59)])
    ledger.is_coded = True
    ledger.breaks.append(Break("cut", 20.65, 21.0))
    assert not_heard(ledger) == 1


def not_heard(ledger: Ledger) -> int:
    figures = judge(ledger)
    return figures.down_lost + figures.cut_off * figures.cut_off_ms // 20


def test_what_was_sent_just_before_a_break_or_within_is_told_apart() -> None:
    """10.2 to 10.4 s are lost; the line broke at 10.3."""
    ledger = spoken(asked=[[*range(10), *range(20, 50)]], heard=[*range(10), *range(20, 50)])
    ledger.breaks.append(Break("cut", 10.3, 10.6))
    assert round(judge(ledger).up_lost_before_ms) == 100
    ledger.breaks = [Break("cut", 10.1)]
    assert judge(ledger).up_lost_before_ms == 0


def test_what_the_harness_stood_still_was_on_nobodys_way() -> None:
    """Sent 100 ms before the line broke, and 80 ms of that it stood still itself."""
    ledger = spoken(asked=[[*range(10), *range(20, 50)]], heard=[*range(10), *range(20, 50)])
    ledger.breaks.append(Break("cut", 10.3, 10.6))
    ledger.stalls = [(9.0, 9.5), (10.22, 10.26), (10.26, 10.35)]
    assert round(judge(ledger).up_lost_before_ms) == 20


def test_what_was_lost_at_two_times_is_told_of_twice() -> None:
    """Also where nothing was sent in between."""
    ledger = spoken(asked=[range(10)])
    ledger.say(50, 1, 40.0)
    assert [each.partition(",")[0] for each in lost_up(ledger)] == ["10–49", "50–50"]


def test_what_the_model_said_and_nobody_heard_is_lost_on_the_way_down() -> None:
    figures = judge(spoken(heard=[*range(10), *range(15, 30), *range(40, 50)]))
    assert (figures.up_lost, figures.down_lost, figures.down_gaps, figures.down_gap_ms) == (0, 15, 2, 200)


def test_a_repeat_counts_for_the_break_before_it() -> None:
    ledger = spoken(heard=[*range(30), *range(20, 50)])
    assert judge(ledger).down_repeat_ms == NEVER_MS
    ledger.breaks += [Break("cut", 15.0, 15.1), Break("cut", 20.1, 20.2)]
    figures = judge(ledger)
    assert (figures.down_doubled, figures.down_repeat_ms, figures.down_reordered) == (10, 200, 0)


def test_what_a_client_had_while_it_stood_still_nobody_knew_of() -> None:
    """It hears that again, and it is no more than what came meanwhile."""
    ledger, begin = spoken(heard=range(30)), 21.0
    ledger.breaks.append(Break("cut", begin, 21.2))
    ledger.heard += [(21.3 + number / 50, number) for number in range(10, 50)]
    assert judge(ledger).down_repeat_ms == 400
    ledger.stalls = [(begin - 5.0, begin - 4.0), (begin - 0.3, begin - 0.05)]
    assert judge(ledger).down_repeat_ms == 150


def test_an_answer_that_is_given_anew_is_no_repeat() -> None:
    """The model was asked again; but each frame may be heard only as often as it was said."""
    figures = judge(spoken(asked=[range(50), range(50)], heard=[*range(20), *range(50)]))
    assert (figures.asked_again, figures.down_doubled, figures.down_lost) == (50, 0, 0)
    assert judge(spoken(asked=[range(50), range(50)], heard=[*range(20), *range(50), *range(50)])).down_doubled == 20


def test_double_and_disordered_speech_is_seen() -> None:
    figures = judge(spoken(asked=[[0, 1, 2, 2, 4, 3, *range(5, 50)]]))
    assert (figures.up_doubled, figures.up_reordered) == (1, 1)
    assert judge(spoken(heard=[1, 0, *range(2, 50)])).down_reordered == 1


def test_what_was_given_up_may_come_late() -> None:
    """A request that its client has let go, and that the network has brought all the same. What it did not is lost."""
    late = [*range(10, 20), *range(5), *range(20, 50)]
    ledger = spoken(asked=[late], heard=late)
    assert (judge(ledger).up_reordered, judge(ledger).down_reordered) == (1, 1)
    ledger.given_up = set(range(10))
    figures = judge(ledger)
    assert (figures.up_reordered, figures.down_reordered, figures.interleaved, figures.up_lost) == (0, 0, 0, 5)


def test_an_utterance_that_overtakes_another_is_out_of_order() -> None:
    assert judge(spoken(asked=[range(25, 50), range(25)])).up_reordered == 1


def test_frames_of_another_session_are_cross_talk() -> None:
    ledger = spoken()
    ledger.ask(frames([1, 2], session=8), 0)
    ledger.hear(frames([3], session=8), 30.0)
    assert judge(ledger).foreign == 3


def test_what_a_recorder_gave_to_a_broken_line_is_missing() -> None:
    """Not what it gave while a process slept: that waits."""
    ledger = spoken()
    ledger.recorded = [(at / 10, 5) for at in range(100, 200)]
    ledger.breaks = [Break("gateway stop 6 s", 11.0, 15.0, loses=False), Break("cut", 17.0, 17.5)]
    assert judge(ledger).missing_ms == 500
    assert judge(ledger).cuts == 1


def test_a_turn_is_answered_when_all_that_reached_the_model_was_heard() -> None:
    ledger = spoken(asked=[range(40)], heard=range(39))
    assert not ledger.is_answered(range(50))
    ledger.hear(frames([39]), 30.0)
    assert ledger.is_answered(range(50))


def test_a_moment_after_a_break_is_still_its_own() -> None:
    """A request on a connection that nobody has told to be dead."""
    ledger = spoken(asked=[[*range(10), *range(20, 50)]], heard=[*range(10), *range(20, 50)])
    ledger.breaks = [Break("gateway kill", 9.9, 10.19)]
    assert judge(ledger).up_lost_before_ms == 0
    ledger.breaks = [Break("gateway kill", 9.0, 9.5)]
    assert judge(ledger).up_lost_before_ms == NEVER_MS


def test_an_answer_that_breaks_off_has_no_hole() -> None:
    """Its end is told apart from what is missing in the middle."""
    figures = judge(spoken(heard=[*range(10), *range(15, 40)]))
    assert (figures.down_lost, figures.down_gaps, figures.cut_off) == (5, 1, 1)


def test_going_back_into_the_middle_of_an_answer_is_another_one_in_between() -> None:
    """Once after a break it is a repeat; to the beginning of an answer it is one that begins anew."""
    ledger = spoken(heard=[0, 1, 2, 1, 3, 2, 4])
    assert judge(ledger).interleaved == 2
    ledger.breaks.append(Break("cut", 20.0, 20.1))
    assert judge(ledger).interleaved == 1
    assert [each[:10] for each in went_back(ledger)] == ["1 was hear", "2 was hear"]
    anew = spoken(asked=[range(20), range(20)], heard=[*range(10), *range(20)])
    assert judge(anew).interleaved == 0


def test_who_is_sent_away_is_broken_when_its_connection_ends() -> None:
    """A gateway that stops goes on listening until then: a recorder that goes on gives nothing away meanwhile."""
    ledger = Ledger(1, breaks=[Break("gateway restart", 4.0, is_ahead=True)])
    ledger.recorded = [(5.0, 10), (8.2, 5)]
    ledger.gone(8.0)
    ledger.breaks[0].end = 8.5
    ledger.gone(9.0)
    assert (ledger.breaks[0].begin, judge(ledger).missing_ms) == (8.0, 100)


def test_what_is_cut_out_is_measured_at_the_seam_and_what_was_not_sent_is_not() -> None:
    """20 ms in the middle of two frames; then two frames that never left the client."""
    ledger = spoken()
    ledger.seams_up = [Seam(20 * STEP + 200, 21 * STEP + 200, 0)]
    assert judge(ledger).up_cut_ms == 20
    ledger.seams_up = [Seam(20 * STEP + 80, 22 * STEP + 80, 0)]
    del ledger.sent[20], ledger.sent[21]
    assert judge(ledger).up_cut_ms == 0


def test_what_the_client_hears_is_compared_with_what_the_model_heard() -> None:
    """A seam that the model has heard is no seam of the way down; an answer that begins is none either."""
    ledger = spoken(asked=[range(50), range(50, 90)])
    cut, again, begins = Seam(9_000, 9_480, 0), Seam(9_000, 8_520, 0), Seam(20_000, 50 * STEP + 100, 0)
    ledger.seams_down = [(20.0, begins)]
    assert (judge(ledger).down_cut_ms, judge(ledger).down_again_ms) == (0, 0)
    ledger.seams_down = [(20.0, cut)]
    assert judge(ledger).down_cut_ms == 20
    ledger.seams_up = [Seam(9_100, 9_580, 0)]
    assert judge(ledger).down_cut_ms == 0
    ledger.seams_down = [(20.0, again)]
    assert judge(ledger).down_again_ms == NEVER_MS
    ledger.breaks.append(Break("cut", 15.0, 15.5))
    assert judge(ledger).down_again_ms == 20
