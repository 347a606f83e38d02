"""What counts as a takeover, and how long they took."""

from __future__ import annotations

from cli.load.coding import TALK, Frame
from cli.load.faults import KINDS
from cli.load.judgement import judge
from cli.load.ledger import Ledger
from cli.load.report import percentile, takeovers
from cli.load.run import Plan, Result
from cli.load.takeover import Takeover, answer_is_due, is_behind
from cli.load.witness import Witness
from simulator.answers import Question, Utterance
from simulator.audio_format import PCM
from streams.ids import EntryId


def is_due(*kinds: str) -> bool:
    return answer_is_due([{b"kind": kind.encode(), b"whole": b"1"} for kind in kinds])


def test_an_answer_is_due_from_the_question_until_its_last_word() -> None:
    assert is_due("user", "committed", "answered", "epoch")
    assert is_due("assistant", "begun", "committed")
    assert not is_due("assistant", "answered", "begun", "committed")
    assert not is_due("epoch", "opened")
    assert answer_is_due([{b"kind": b"answered", b"whole": b"0"}])


def test_a_transcoder_is_behind_while_entries_have_no_pieces() -> None:
    assert is_behind(EntryId(5, 2 * 4096 + 7), EntryId(5, 3))
    assert not is_behind(EntryId(5, 3 * 4096), EntryId(5, 3))
    assert is_behind(EntryId(4, 9 * 4096), EntryId(5, 0))


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 51)]
    assert (percentile(values, 50), percentile(values, 95), percentile(values, 100)) == (25.0, 48.0, 50.0)
    assert percentile([3.0], 95) == 3.0


def result(*taken: Takeover, twice: int = 0) -> Result:
    return Result(Plan(clients=("mobile",), kinds=(KINDS["bridge kill"],)), (), (), takeovers=taken, bridged_twice=twice)


def test_of_each_kill_the_slowest_counts() -> None:
    first = [Takeover("bridge kill", 4.0, str(n), owned_s=seconds, heard_s=None) for n, seconds in enumerate((1.0, 3.0))]
    (said,) = takeovers([result(*first), result(Takeover("bridge kill", 4.0, "x", owned_s=2.0, heard_s=2.5, is_due=True))])
    assert "2 kills, 3 sessions, 0 orphans; taken over after 2.00 s (p50), 3.00 s (p95)" in said
    assert "(1 kills, 1 sessions, 0 never heard), after 2.50 s" in said


def test_who_has_nobody_is_an_orphan_unless_the_session_is_over() -> None:
    assert (
        result(Takeover("bridge kill", 4.0, "x", owned_s=4.2), Takeover("bridge kill", 4.0, "y", is_over=True)).broken == ()
    )
    (said,) = result(Takeover("bridge kill", 4.0, "x")).broken
    assert "1 sessions had no worker" in said


def test_two_sockets_that_ask_in_turn_are_two_bridges() -> None:
    """One after the other is a takeover."""
    witness = Witness()
    ledger = witness.ledgers[7] = Ledger(7)
    ledger.say(0, 20, 1.0)

    def ask(socket: str) -> None:
        witness.outputs(Question(Utterance(TALK.speech(7, 0, 20), PCM), session=socket))

    for socket in ("one", "one", "two", "two"):
        ask(socket)
    assert witness.bridged_twice == 0
    ask("one")
    assert witness.bridged_twice == 1
    assert "two bridges" in result(twice=1).broken[0]


def test_an_answer_that_broke_off_is_to_be_gone_on_with() -> None:
    """By whoever has taken over: who is asked for the rest knows of which question, and has nothing more to say."""
    for goes_on in (True, False):
        witness = Witness()
        ledger, _ = witness.ledgers[7], witness.ledgers[8] = Ledger(7), Ledger(8)
        speech = Utterance(TALK.speech(7, 0, 20), PCM)
        ledger.say(0, 20, 1.0)
        witness.outputs(Question(speech, session="one"))
        ledger.hear([Frame(7, number) for number in range(12)], 2.0)
        if goes_on:
            witness.outputs(Question(None, session="two", before=speech))
        figures = judge(ledger)
        assert (figures.cut_off, figures.cut_off_ms) == (1, 160)
        assert (figures.dropped, figures.dropped_ms) == ((0, 0) if goes_on else (1, 160))
        assert ledger.goes_on(range(20)) is goes_on
        assert judge(witness.ledgers[8]).dropped == 0
