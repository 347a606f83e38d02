"""PURE. What has become of what one session has said: counted, frame by frame.

A frame goes up once, is part of one utterance that the model is asked with, and comes back in its answer once. Whatever
else becomes of it is counted here. Whether that was promised is for `promises.py` to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cli.load.alignment import NOTHING, Seam
from cli.load.ledger import Break, Ledger
from cli.load.sound import RATE, STEP

FRAME_MS = 20

PAUSE_S = 1.0
"""What was sent so much later than what was sent before it was lost by itself."""

FIND_OUT_S = 0.25
"""A client's other connections find out a moment later that they are dead, and what is written into one meanwhile is lost,
too. The watch's next upload begins 200 ms after the one before has ended, and has to be dialled."""

STOOD_WITHIN_S = 1.0
"""What a client had longer ago it has said since."""


@dataclass(frozen=True)
class Figures:
    """Counts are frames of 20 ms."""

    sent: int
    up_lost: int
    """sent, and the model was never asked with them"""
    up_lost_before_ms: float
    """of those not sent while the line was broken: how long before it broke the oldest was sent"""
    up_gaps: int
    """runs of lost ones"""
    up_doubled: int
    up_reordered: int
    up_broken: int
    asked_again: int
    """frames of utterances that the model was asked with once more"""
    down_due: int
    """frames that the model has answered with"""
    down_lost: int
    down_gap_ms: int
    """the longest run of lost ones"""
    down_gaps: int
    """runs of lost ones"""
    cut_off_ms: int
    """the longest end of an answer that was not heard"""
    cut_off: int
    """answers whose end was not heard, and nothing before it is missing: these frames are in no figure of lost ones"""
    dropped_ms: int
    """the longest such end that the model was not asked for"""
    dropped: int
    """answers whose end was not heard, and the model was not asked to go on with them"""
    down_doubled: int
    """heard more often than the model was asked"""
    down_repeat_ms: int
    """the most that was repeated after one break; infinite when nothing was broken"""
    down_reordered: int
    interleaved: int
    """times that what is heard went back into the middle of an answer: once after a break is no such time"""
    down_broken: int
    up_cut_ms: float
    """of a coded one, to the sample: the most that is missing in the middle of an utterance"""
    up_again_ms: float
    """and the most that is said again there"""
    down_cut_ms: float
    """the most that is missing in the middle of what was heard, and was there when the model heard it"""
    down_again_ms: float
    """the most that what was heard goes back, where no answer begins; infinite when nothing was broken before"""
    unknown_ms: float
    """of a coded one: the longest sound it heard that is nobody's"""
    foreign: int
    """other sessions' frames, both ways"""
    announced: int
    announced_ms: float
    missing_ms: int
    """of a recorder's sound, what it gave while the line was broken"""
    breaks: int
    cuts: int
    """of these, in which a recorder went on, and what it gave is missing"""
    unanswered: int


NEVER_MS = 10**9
"""Longer than any run: what happened without a cause."""


def judge(ledger: Ledger) -> Figures:
    """Count."""
    times_asked = Counter(number for utterance in ledger.asked for number in set(utterance))
    lost_up = [number for number in ledger.sent if number not in times_asked]
    again, doubled_up, _ = _again(ledger.asked)
    _, _, reordered_up = _again([[number for number in each if number not in ledger.given_up] for each in ledger.asked])
    times_heard = Counter(number for _, number in ledger.heard)
    lost_down = sorted(number for number in times_asked if number not in times_heard)
    ends = {max(utterance) for utterance in ledger.asked if utterance}
    blurred = _blurred(ledger, lost_down)
    every_run = _runs([number for number in lost_down if number not in blurred], sorted(times_asked))
    runs = [run for run in every_run if run[-1] not in ends]
    cut_off = [run for run in every_run if run[-1] in ends]
    dropped = [run for run in cut_off if not any(utterance.intersection(run) for utterance in ledger.continued)]
    repeats = _repeats(ledger, times_asked)
    firsts = list(dict.fromkeys(number for _, number in ledger.heard if number not in ledger.given_up))
    moved = _moved(ledger)
    return Figures(
        sent=len(ledger.sent),
        up_lost=len(lost_up),
        up_lost_before_ms=max((_before_ms(ledger.sent[number], ledger) for number in lost_up), default=0.0),
        up_gaps=len(_runs(lost_up, list(ledger.sent))),
        up_doubled=doubled_up,
        up_reordered=reordered_up,
        up_broken=ledger.broken_up,
        asked_again=again,
        down_due=len(times_asked),
        down_lost=sum(map(len, runs)),
        down_gap_ms=max(map(len, runs), default=0) * FRAME_MS,
        down_gaps=len(runs),
        cut_off_ms=max(map(len, cut_off), default=0) * FRAME_MS,
        cut_off=len(cut_off),
        dropped_ms=max(map(len, dropped), default=0) * FRAME_MS,
        dropped=len(dropped),
        down_doubled=sum(repeats.values()),
        down_repeat_ms=max((_repeat_ms(ledger, at, count) for at, count in repeats.items()), default=0),
        down_reordered=_descents(firsts),
        interleaved=_interleaved(ledger),
        down_broken=ledger.broken_down,
        up_cut_ms=max((_cut_ms(ledger, seam) for seam in ledger.seams_up), default=0.0),
        up_again_ms=max((_seam_ms(-seam.skipped) for seam in ledger.seams_up if not _is_late(ledger, seam)), default=0.0),
        down_cut_ms=max((_seam_ms(seam.skipped) for _, seam in moved), default=0.0),
        down_again_ms=max((_again_ms(ledger, at, seam) for at, seam in moved), default=0.0),
        unknown_ms=max((1000 * len(piece) / RATE for piece in ledger.unknown_down), default=0.0),
        foreign=ledger.foreign_up + ledger.foreign_down,
        announced=len(ledger.announced),
        announced_ms=ledger.announced_ms,
        missing_ms=sum(count for at, count in ledger.recorded if any(each.takes(at) for each in ledger.breaks)) * FRAME_MS,
        breaks=len(ledger.breaks),
        cuts=sum(any(each.takes(at) for at, _ in ledger.recorded) for each in ledger.breaks),
        unanswered=ledger.unanswered,
    )


def lost_up(ledger: Ledger) -> Iterator[str]:
    """Each run of frames that the model was never asked with, and when they were sent."""
    times_asked = {number for utterance in ledger.asked for number in utterance}
    lost = [number for number in ledger.sent if number not in times_asked]
    for run in (part for each in _runs(lost, list(ledger.sent)) for part in _at_once(each, ledger.sent)):
        yield f"{run[0]}–{run[-1]}, sent {ledger.sent[run[0]]:.2f}–{ledger.sent[run[-1]]:.2f} s, never reached the model"


def lost_down(ledger: Ledger) -> Iterator[str]:
    """Each run of frames that the model answered with and nobody heard."""
    heard = {number for _, number in ledger.heard}
    asked = sorted({number for utterance in ledger.asked for number in utterance})
    for run in _runs([number for number in asked if number not in heard], asked):
        yield f"{run[0]}–{run[-1]} of an answer were not heard"


def went_back(ledger: Ledger) -> Iterator[str]:
    """Each time that what was heard went back into the middle of an answer, and the seams around it of what is coded."""
    begins = {utterance[0] for utterance in ledger.asked if utterance}
    for (before_at, before), (at, number) in pairwise(ledger.heard):
        if number <= before and number not in begins:
            yield f"{number} was heard at {at:.2f} s after {before} at {before_at:.2f} s"
    for at, seam in ledger.seams_down:
        if seam.skipped < 0:
            places = f"{seam.left / STEP:.1f} back to {seam.back / STEP:.1f}"
            yield f"from {places} at {at:.2f} s, with {seam.between} samples between"


def _again(asked: Sequence[Sequence[int]]) -> tuple[int, int, int]:
    """Frames asked once more in another utterance; twice in one; out of order."""
    again = doubled = reordered = 0
    seen: set[int] = set()
    latest = -1
    for utterance in asked:
        fresh = list(dict.fromkeys(utterance))
        doubled += len(utterance) - len(fresh)
        reordered += _descents(fresh)
        known = [number for number in fresh if number in seen]
        again += len(known)
        new = [number for number in fresh if number not in seen]
        reordered += bool(new) and new[0] < latest
        latest = max([latest, *new])
        seen.update(fresh)
    return again, doubled, reordered


def _descents(numbers: Sequence[int]) -> int:
    return sum(later < earlier for earlier, later in pairwise(numbers))


def _interleaved(ledger: Ledger) -> int:
    begins = {utterance[0] for utterance in ledger.asked if utterance}
    excused = {-1}  # what comes before any break has no excuse
    count = 0
    for (_, before), (at, number) in pairwise(ledger.heard):
        if number > before or number in begins or {number, before} & ledger.given_up:
            continue
        after = _latest_break(ledger.breaks, at)
        count += after in excused
        excused.add(after)
    return count


def _latest_break(breaks: Sequence[Break], at: float) -> int:
    """Its place; -1 before any."""
    return max((place for place, each in enumerate(breaks) if each.begin <= at), default=-1)


def _blurred(ledger: Ledger, lost: Sequence[int]) -> set[int]:
    """Of what is compressed, and after a break: single frames at an end of what the model was asked with, or beside a hole
    in it, where the next codec begins or breaks off. They may be too unlike themselves to be known; others of their
    utterance were heard."""
    if not ledger.is_coded or not ledger.breaks:
        return set()
    since = min(each.begin for each in ledger.breaks)
    heard = {number for _, number in ledger.heard}
    late = {number for at, number in ledger.heard if at >= since} | {n for n, at in ledger.sent.items() if at >= since}
    missing = frozenset(lost)
    blurred = set[int]()
    for utterance in map(frozenset, ledger.asked):
        if utterance & late and utterance & heard:
            borders = {each for each in utterance if not utterance.issuperset((each - 1, each + 1))}
            blurred |= {each for each in borders & missing if missing.isdisjoint((each - 1, each + 1))}
    return blurred


def _runs(lost: Sequence[int], due: Sequence[int]) -> list[list[int]]:
    """Lost ones that stood side by side in what was due."""
    place = {number: at for at, number in enumerate(due)}
    runs: list[list[int]] = []
    for number in lost:
        if runs and place[number] == place[runs[-1][-1]] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _at_once(run: Sequence[int], sent: Mapping[int, float]) -> Iterator[list[int]]:
    """The parts of it that were sent without a pause."""
    begin = 0
    for at in range(1, len(run) + 1):
        if at == len(run) or sent[run[at]] > sent[run[at - 1]] + PAUSE_S:
            yield [*run[begin:at]]
            begin = at


def _moved(ledger: Ledger) -> list[tuple[float, Seam]]:
    """Seams of what was heard that are not the model's: it has heard them itself, or begins an answer, or one anew."""
    begins = [utterance[0] * STEP for utterance in ledger.asked if utterance]
    return [
        (at, seam)
        for at, seam in ledger.seams_down
        if seam.is_moved
        and not any(abs(seam.back - begin) <= STEP for begin in begins)
        and not any(seam.is_like(other) for other in ledger.seams_up)
    ]


def _is_late(ledger: Ledger, seam: Seam) -> bool:
    """Whether on a side of it stands what was given up, and came after all."""
    return bool({int(seam.left / STEP), int(seam.back / STEP)} & ledger.given_up)


def _cut_ms(ledger: Ledger, seam: Seam) -> float:
    """How much of what was sent is missing there: a gap in what was sent is nobody's loss."""
    between = range(round(seam.left / STEP), round(seam.back / STEP))
    unsent = STEP * sum(number not in ledger.sent for number in between)
    return _seam_ms(seam.skipped - unsent) if seam.skipped - unsent > (NOTHING if unsent else 0) else 0.0


def _seam_ms(samples: int) -> float:
    return max(0.0, 1000 * samples / RATE)


def _again_ms(ledger: Ledger, at: float, seam: Seam) -> float:
    again = _seam_ms(-seam.skipped)
    if not again:
        return again
    place = _latest_break(ledger.breaks, at)
    return max(0.0, again - _unheard_ms(ledger, place)) if place >= 0 else float(NEVER_MS)


def _repeat_ms(ledger: Ledger, place: int, count: int) -> int:
    """What was repeated after this break."""
    return max(0, round(count * FRAME_MS - _unheard_ms(ledger, place))) if place >= 0 else NEVER_MS


def _unheard_ms(ledger: Ledger, place: int) -> float:
    """How long the client itself stood still right before this break: nobody knew then that it had anything."""
    until = ledger.breaks[place].begin
    return 1000 * _stood_s(ledger, until - STOOD_WITHIN_S, until)


def _stood_s(ledger: Ledger, begin: float, end: float) -> float:
    return sum(max(0.0, min(until, end) - max(since, begin)) for since, until in ledger.stalls)


def _before_ms(sent_at: float, ledger: Ledger) -> float:
    """How long before the next break this was sent, without the time in which the harness stood still; 0 within one."""
    for each in ledger.breaks:
        if each.end is None or sent_at <= each.end + FIND_OUT_S:
            return max(0.0, each.begin - sent_at - _stood_s(ledger, sent_at, each.begin)) * 1000
    return float(NEVER_MS)


def _repeats(ledger: Ledger, times_asked: Counter[int]) -> Counter[int]:
    """By the break they came after (its place; -1 before any): frames heard more often than the model said them."""
    heard: Counter[int] = Counter()
    repeats: Counter[int] = Counter()
    for at, number in ledger.heard:
        heard[number] += 1
        if heard[number] > max(1, times_asked[number]):
            repeats[_latest_break(ledger.breaks, at)] += 1
    return repeats
