"""PURE. Where each piece of what came out stands in what was said: a stretch is as long as the two run side by side.

    said   ──────────A──────────┬───20 ms───┬──────────B──────────
    heard  ──────────A──────────┬──────────B──────────               a seam: 480 samples are skipped

A stretch begins where a window of what was heard is found in what was said, and grows both ways, cell by cell, as long as
they correlate. Between two stretches there is a seam: what was skipped or said again is known to the sample, where it lies
to a cell or two. What is loud and belongs to no stretch is nobody's, or another's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cli.load.coding import Frame
from cli.load.sound import QUIET, RATE, STEP, Memory, Samples, memory

CELL = RATE // 200
"""5 ms: of what is compared at a known place."""
WINDOW = RATE // 25
"""40 ms: of what is looked for. With half of it from elsewhere it is not found, and the next window is tried."""
STRIDE = RATE // 100

FOUND = 0.6
"""Likeness from which on a window is found, and below which 20 ms of it end a stretch."""
SAME = 0.5
"""Likeness from which on a cell speaks for the stretch, below it against: coded ones have 0.9 on average and 0.5 at the
least, others 0, seldom 0.5."""
NOTHING = 2 * CELL
"""Samples: where a seam lies is not known better, and so much between two stretches may be a part of either."""


@dataclass(slots=True)
class Stretch:
    """Samples: heard from `at` on what was said from `said` on, so many."""

    at: int
    said: int
    length: int

    @property
    def end(self) -> int:
        return self.at + self.length

    @property
    def said_end(self) -> int:
        return self.said + self.length


@dataclass(frozen=True, slots=True)
class Seam:
    """What is said up to one sample is followed by what is said from another one on."""

    left: int
    back: int
    between: int
    """samples of something else, or of silence"""

    @classmethod
    def of(cls, before: Stretch, after: Stretch) -> Seam:
        return cls(before.said_end, after.said, after.at - before.end)

    @property
    def skipped(self) -> int:
        """Samples; negative: so many are said again. Of what is between, a cell on each side may belong to either."""
        skipped = self.back - self.left
        return skipped - self.between if self.between <= NOTHING else skipped

    @property
    def is_moved(self) -> bool:
        """More than where a stretch ends is unknown anyway; silence alone moves nothing."""
        return abs(self.skipped) > (CELL // 5 if self.between <= NOTHING else NOTHING)

    def is_like(self, other: Seam) -> bool:
        """The same, as far as one knows."""
        return abs(self.left - other.left) <= 2 * NOTHING and abs(self.back - other.back) <= 2 * NOTHING


def seams(stretches: Sequence[Stretch]) -> list[Seam]:
    """Those at which something was moved."""
    return [seam for seam in (Seam.of(before, after) for before, after in pairwise(stretches)) if seam.is_moved]


class Listener:
    """Sound in, cut anywhere; stretches out, the last of which may still grow. `finish` when nothing more comes."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.stretches: list[Stretch] = []
        self._audio, self._begin = np.zeros(0), 0
        self._at = 0
        """sample that is looked at"""
        self._pieces: list[Samples] = []
        self._pieces_end = 0
        self._is_open = False
        self._memory: Memory

    @property
    def unknown(self) -> list[Samples]:
        """Pieces that are loud, and in no stretch."""
        return [piece for piece in self._pieces if len(piece) > NOTHING]

    def feed(self, audio: Samples, spoken: int) -> None:
        """The session has spoken so many frames by now."""
        self._audio = np.concatenate([self._audio, audio])
        self._memory = memory(self.session, spoken)
        self._listen(WINDOW)
        self._forget()

    def finish(self) -> None:
        self._listen(STEP)
        self._leave_out(self._begin + len(self._audio))

    @property
    def _end(self) -> int:
        return self._begin + len(self._audio)

    @property
    def _settled(self) -> int:
        """Up to where all is known, or given up."""
        return max(self._begin, self.stretches[-1].end if self.stretches else 0)

    def _listen(self, least: int) -> None:
        """As long as there is so much to be looked for."""
        while not self._is_open or self._grow():
            self._skip_silence()
            if self._end - self._at < least:
                return
            window = self._of(self._at, min(WINDOW, self._end - self._at))
            said, likeness = self._memory.find(window)
            if likeness < FOUND or not self._opens(said):
                self._at += STRIDE

    def _opens(self, said: int) -> bool:
        """A window is known: a stretch grows from where it is most like what was said, and first as far back as it goes.

        False when no cell of it speaks for that.
        """
        size = min(WINDOW, self._end - self._at)
        best = _best(self._of(self._at, size), self._said(said, size))
        if best is None:
            return False
        at, said = self._at + best, said + best
        room = min(at - self._settled, said - self._memory.first)
        back, _ = _side_by_side(self._of(at - room, room)[::-1], self._said(said - room, room)[::-1])
        self._leave_out(at - back)
        self.stretches.append(Stretch(at - back, said - back, back))
        self._is_open = True
        return True

    def _grow(self) -> bool:
        """The open one; whether it has come to its end."""
        stretch = self.stretches[-1]
        if stretch.said_end >= self._memory.first:
            room = min(self._end - stretch.end, self._memory.first + len(self._memory.said) - stretch.said_end)
            grown, is_over = _side_by_side(self._of(stretch.end, room), self._said(stretch.said_end, room))
            stretch.length += grown
            self._is_open = not is_over
        else:
            self._is_open = False
        self._at = max(self._at, stretch.end)
        return not self._is_open

    def _skip_silence(self) -> None:
        loud = _loud(self._of(self._at, self._end - self._at))
        self._at += CELL * (int(loud[0]) if len(loud) else (self._end - self._at) // CELL)

    def _leave_out(self, until: int) -> None:
        """What lies before belongs to no stretch."""
        begin = self._settled
        left = self._of(begin, until - begin)
        loud = _loud(left)
        for run in np.split(loud, np.flatnonzero(np.diff(loud) > NOTHING // CELL) + 1):
            if not len(run):
                continue
            piece = left[run[0] * CELL : (run[-1] + 1) * CELL]
            at = begin + int(run[0]) * CELL
            if self._pieces and at <= self._pieces_end + NOTHING:
                self._pieces[-1] = np.concatenate([self._pieces[-1], piece])
            else:
                self._pieces.append(piece)
            self._pieces_end = at + len(piece)

    def _forget(self) -> None:
        """What is settled; and what is looked at in vain for long."""
        keep = self._settled if self._is_open else max(self._settled, self._at - 2 * WINDOW)
        if keep > self._settled:
            self._leave_out(keep)
        self._audio = self._audio[keep - self._begin :]
        self._begin = keep

    def _of(self, at: int, count: int) -> Samples:
        return self._audio[at - self._begin : at - self._begin + count]

    def _said(self, at: int, count: int) -> Samples:
        return self._memory.said[at - self._memory.first : at - self._memory.first + count]


def _side_by_side(heard: Samples, said: Samples) -> tuple[int, bool]:
    """How many samples of the two are the same from the beginning, and whether something else comes behind."""
    count = len(heard) // CELL * CELL
    heard, said = heard[:count], said[:count]
    score = np.concatenate([[0.0], np.cumsum(_alike(heard, said) - SAME)])
    unlike = np.flatnonzero(_alike_for(heard, said, STEP // CELL) < FOUND)
    until = int(unlike[0]) + STEP // CELL if len(unlike) else len(score) - 1
    return int(np.argmax(score[: until + 1])) * CELL, bool(len(unlike))


def _best(heard: Samples, said: Samples) -> int | None:
    """The sample at which that part begins in which the two are most alike."""
    count = len(heard) // CELL * CELL
    score = np.concatenate([[0.0], np.cumsum(_alike(heard[:count], said[:count]) - SAME)])
    end = int(np.argmax(score - np.minimum.accumulate(score)))
    return int(np.argmin(score[: end + 1])) * CELL if end else None


def _alike(heard: Samples, said: Samples) -> Samples:
    """Of each cell."""
    return _alike_for(heard, said, 1)


def _alike_for(heard: Samples, said: Samples, cells: int) -> Samples:
    """Of each cell and those behind it, so many together."""
    if len(heard) < cells * CELL:
        return np.zeros(0)
    common, one, other = (
        np.convolve((a * b).reshape(-1, CELL).sum(axis=1), np.ones(cells), "valid")
        for a, b in ((heard, said), (heard, heard), (said, said))
    )
    alike: Samples = common / np.sqrt(one * other + 1.0)
    return alike


class Frames:
    """Which frames the stretches hold, each as often as more than half of it was heard."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._covered: Counter[int] = Counter()
        self._place, self._said = 0, 0

    def fresh(self, stretches: Sequence[Stretch]) -> list[Frame]:
        """Those that have come with what the stretches have grown by. What may be a part of either of two is of one."""
        found: list[Frame] = []
        for place in range(self._place, len(stretches)):
            begin, end = stretches[place].said, stretches[place].said_end
            if place == self._place:
                begin = max(begin, self._said)
            elif abs(begin - self._said) <= NOTHING:
                begin = self._said
            if begin < end:
                found += self._cover(begin, end)
            self._place, self._said = place, max(begin, end)
        return found

    def _cover(self, begin: int, end: int) -> Iterator[Frame]:
        for number in range(begin // STEP, -(-end // STEP)):
            before = self._covered[number]
            after = before + min(end, (number + 1) * STEP) - max(begin, number * STEP)
            self._covered[number] = after
            yield from [Frame(self._session, number)] * (_times(after) - _times(before))


def _times(samples: int) -> int:
    return max(0, -(-(samples - STEP // 2) // STEP))


def heard_whole(audio: Samples, session: int, spoken: int) -> Listener:
    """All of it at once."""
    listener = Listener(session)
    listener.feed(audio, spoken)
    listener.finish()
    return listener


def loud_ms(audio: Samples) -> float:
    """How long it is that in it which is no silence."""
    return 1000 / RATE * CELL * len(_loud(audio))


def _loud(audio: Samples) -> NDArray[np.intp]:
    """The cells that are no silence."""
    cells = audio[: len(audio) // CELL * CELL].reshape(-1, CELL)
    return np.flatnonzero((cells * cells).mean(axis=1) > QUIET * QUIET)


def is_of(audio: Samples, session: int, spoken: int) -> bool:
    """Whether this session is heard in it, in the middle or at a quarter from either end of what is loud."""
    loud = _loud(audio)
    if not spoken or len(loud) * CELL < STEP:
        return False
    size = min(WINDOW, len(loud) * CELL)
    places = {min(int(loud[len(loud) * quarter // 4]) * CELL, len(audio) - size) for quarter in (1, 2, 3)}
    remembered = memory(session, spoken)
    return any(remembered.find(audio[at : at + size])[1] >= FOUND for at in places)


def strangers(pieces: Sequence[Samples], others: Iterable[tuple[int, int]]) -> int:
    """Frames of other sessions (and how much each has spoken) in these."""
    count = 0
    known = list(others)
    for piece in pieces:
        for session, spoken in known:
            if is_of(piece, session, spoken):
                count += max(1, round(len(piece) / STEP))
                break
    return count
