"""PURE. Both voices of a call on one time line: what its tracks say → which sample is heard when.

A recording is kept as it comes: the sound in the order in which it was said or generated, and beside it, in lines, when
each bit came and what a client heard of it. All of these are the same whoever writes them, and however often. Where sound
stands in the recording is decided here, at the end, when all is known. Times are ms since 1970 by Redis's clock.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby, pairwise

import msgspec

from transcoder.track_lines import AnyLine, Generated, Gone, Happened, Played, Plays, Spoken, Stretch, Switch, Whole

SAMPLES_PER_MS = 24

LOOK_AHEAD_MS = 15_000
"""How long what came late may hide when the speech before it was said: networks stall, and then bring all at once."""

MOVE_MS = 20
"""By less than this nothing is moved: two clocks go apart by that in minutes, and each move is heard."""

CATCH_UP_MS = 100
"""What comes earlier than it was said to be by more than this is no clock that goes fast: it was sent faster than spoken."""

PAUSE_MS = 300
"""Nobody is so much later on his way alone; of less than that more must follow before it is believed: so much:"""

SURE_MS = 500

START_MS = 1_000
"""By how much the first speech may have been held up on its way."""

ON_THE_WAY_MS = 2_000
"""From a whole recording's arrival to its sound. Whoever's clock says more has a wrong one."""

SEAM_MS = 2.0
"""Two stretches that are apart by no more are one: places in a part are told in whole ms."""


@dataclass(frozen=True, slots=True)
class Placement:
    """So many samples of a track, at a place in the recording."""

    at: int
    """samples since the recording's beginning"""
    offset: int
    samples: int


@dataclass(frozen=True, slots=True)
class Timeline:
    begins_ms: int
    samples: int
    """of the whole recording"""
    user: list[Placement] = field(default_factory=list)
    model: list[Placement] = field(default_factory=list)
    log: list[dict[str, object]] = field(default_factory=list)
    """what happened, in order; `ms` is the place in the recording"""


def timeline(lines: Iterable[AnyLine]) -> Timeline | None:
    """None: nothing is in it."""
    said: list[Spoken | Whole] = []
    generated: list[Generated] = []
    heard: list[Plays | Gone] = []
    switches: list[Switch] = []
    events: list[Happened] = []
    for line in lines:
        match line:
            case Spoken() | Whole():
                said.append(line)
            case Generated():
                generated.append(line)
            case Plays() | Gone():
                heard.append(line)
            case Switch():
                switches.append(line)
            case Happened():
                events.append(line)
    on = _on(switches)
    if not on:
        return None
    user = list(_clipped(_speech(said), on))
    spans = list(_answers(heard, generated))
    model = list(_clipped((placement for placement, _ in spans), on))
    begins = min([each.at for each in (*user, *model)] + [switch.at_ms * SAMPLES_PER_MS for switch in switches if switch.on])
    begins_ms = begins // SAMPLES_PER_MS
    origin = begins_ms * SAMPLES_PER_MS
    stays = [event for event in events if _is_on(event.at_ms * SAMPLES_PER_MS, on)]
    ends = max(
        [each.at + each.samples for each in (*user, *model)] + [event.at_ms * SAMPLES_PER_MS for event in stays] + [begins]
    )
    return Timeline(
        begins_ms,
        ends - origin,
        [_moved(each, origin) for each in user],
        [_moved(each, origin) for each in model],
        _log(begins_ms, switches, stays, user, [(p, s) for p, s in spans if _is_on(p.at, on)], heard),
    )


def _moved(placement: Placement, origin: int) -> Placement:
    return Placement(placement.at - origin, placement.offset, placement.samples)


# ---- when it is on ---------------------------------------------------------------------------------------------------

_Spans = list[tuple[float, float]]


def _on(switches: Sequence[Switch]) -> _Spans:
    """In samples. What was said before a call that is recorded from its beginning (a whole recording) belongs to it."""
    spans: _Spans = []
    since: float | None = None
    for at, switch in enumerate(switches):
        if switch.on and since is None:
            since = float("-inf") if at == 0 else switch.at_ms * SAMPLES_PER_MS
        elif not switch.on and since is not None:
            spans.append((since, switch.at_ms * SAMPLES_PER_MS))
            since = None
    return spans if since is None else [*spans, (since, float("inf"))]


def _is_on(at: float, spans: _Spans) -> bool:
    return any(begin <= at < end for begin, end in spans)


def _clipped(placements: Iterable[Placement], spans: _Spans) -> Iterator[Placement]:
    for each in placements:
        for begin, end in spans:
            first, last = max(each.at, begin), min(each.at + each.samples, end)
            if first < last:
                yield Placement(int(first), each.offset + int(first) - each.at, int(last - first))


# ---- the user --------------------------------------------------------------------------------------------------------


def _speech(lines: Sequence[Spoken | Whole]) -> Iterator[Placement]:
    pieces: list[tuple[int, int, int]] = []
    """offset, samples, when its last sample was there"""
    first = 0
    for line in lines:
        if isinstance(line, Spoken):
            pieces.append((line.offset, line.samples, line.at_ms))
        elif pieces[first:]:
            samples = sum(samples for _, samples, _ in pieces[first:])
            stored_ms = pieces[first][2]
            believable = 0 <= stored_ms - line.arrived_ms <= ON_THE_WAY_MS
            pieces[first:] = [(pieces[first][0], samples, line.arrived_ms if believable else stored_ms)]
            first = len(pieces)
    begins = place([(samples, at_ms * SAMPLES_PER_MS) for _, samples, at_ms in pieces], START_MS)
    for (offset, samples, _), at in zip(pieces, begins, strict=True):
        yield Placement(at, offset, samples)


def place(pieces: Sequence[tuple[int, int]], start_ms: float) -> list[int]:
    """When each piece began: of pieces of one sound, how long each is and when its end was known, all in samples.

    Nothing was said after it was known, and how long the way takes varies: what took the shortest time says when the sound
    around it was. So a piece goes with its neighbours, unless all that follows it came later, too: then there was a pause.
    """
    ends = list(accumulate(samples for samples, _ in pieces))
    known = [at for _, at in pieces]
    lags = [at - end for at, end in zip(known, ends, strict=True)]
    begins: list[int] = []
    shortest: deque[int] = deque()
    right, lag = 0, 0
    for at, (samples, _) in enumerate(pieces):
        while right < len(pieces) and known[right] <= known[at] + LOOK_AHEAD_MS * SAMPLES_PER_MS:
            while shortest and lags[shortest[-1]] >= lags[right]:
                shortest.pop()
            shortest.append(right)
            right += 1
        while shortest[0] < at:
            shortest.popleft()
        found = lags[shortest[0]]
        if at == 0:
            held_up = round(start_ms * SAMPLES_PER_MS)
            soon = [lag for lag, when in zip(lags, known, strict=True) if when <= known[0] + 2 * held_up]
            lag = max(min(soon), lags[0] - held_up)
        elif _moves((found - lag) / SAMPLES_PER_MS, (ends[right - 1] - ends[at] + samples) / SAMPLES_PER_MS):
            lag = found
        begins.append(ends[at] - samples + lag)
    return begins


def _moves(later_ms: float, follows_ms: float) -> bool:
    """Whether sound that seems to be so much later than before is; `follows_ms`: of it that says so."""
    if later_ms < 0:
        return MOVE_MS < -later_ms < CATCH_UP_MS
    return later_ms > PAUSE_MS or (later_ms > MOVE_MS and follows_ms >= SURE_MS)


# ---- the model -------------------------------------------------------------------------------------------------------


_Parts = defaultdict[tuple[str, int], list[Generated]]
"""Of each item and part, its pieces."""


def _answers(heard: Sequence[Plays | Gone], generated: Sequence[Generated]) -> Iterator[tuple[Placement, Stretch]]:
    parts: _Parts = defaultdict(list)
    for piece in generated:
        parts[piece.item, piece.part].append(piece)
    for stretch in _as_heard(heard, parts):
        for placement in _samples(stretch, parts[stretch.item, stretch.part]):
            yield placement, stretch


def _samples(stretch: Stretch, pieces: Sequence[Generated]) -> Iterator[Placement]:
    """Of a part, what this stretch has of it."""
    first = round(stretch.from_ms * SAMPLES_PER_MS)
    last = first + round(stretch.ms * SAMPLES_PER_MS)
    at, end = round(stretch.begins_ms * SAMPLES_PER_MS) - first, 0
    for piece in pieces:
        begin = piece.start_ms * SAMPLES_PER_MS
        if abs(begin - end) <= SEAM_MS * SAMPLES_PER_MS:
            begin = end
        end = begin + piece.samples
        low, high = max(begin, first), min(end, last)
        if low < high:
            yield Placement(at + low, piece.offset + low - begin, high - low)


def _as_heard(lines: Sequence[Plays | Gone], parts: _Parts) -> list[Stretch]:
    """One connection after the other, as one player plays them: who comes back goes on with what it still has."""
    plans: dict[str, list[Stretch]] = {}
    reports: defaultdict[str, list[Played]] = defaultdict(list)
    begun: dict[str, Plays] = {}
    for line in lines:
        if isinstance(line, Plays):
            begun.setdefault(line.connection, line)
            plans[line.connection] = [*_until(plans.get(line.connection, []), line.since_ms), *line.stretches]
            reports[line.connection] += line.reports
    heard: list[Stretch] = []
    for connection, plan in plans.items():
        if begun[connection].exact:  # what the client says that it had not got, it has not heard
            heard = list(_up_to(heard, _id(begun[connection].after), parts))
        told = bool(reports[connection])
        follows = list(_as_reported(plan, reports[connection]))
        if heard and follows:
            heard[-1] = _up_to_the_next(heard[-1], follows[0])
        if told and follows:
            heard = _until(heard, follows[0].begins_ms)
        until = heard[-1].ends_ms if heard else 0.0
        for stretch in follows:
            begins = stretch.begins_ms if told else max(stretch.begins_ms, until)
            heard.append(msgspec.structs.replace(stretch, begins_ms=begins))
            until = heard[-1].ends_ms
    return heard


def _up_to_the_next(last: Stretch, following: Stretch) -> Stretch:
    """A connection that goes on in the middle of a part says that all before it had come: also what nobody lived to tell."""
    if (last.item, last.part) != (following.item, following.part):
        return last
    return msgspec.structs.replace(last, ms=max(last.ms, following.from_ms - last.from_ms))


def _up_to(stretches: Sequence[Stretch], after: tuple[int, int], parts: _Parts) -> Iterator[Stretch]:
    """What of them stands in `down` up to this entry."""
    for each in stretches:
        unheard = (piece.start_ms for piece in parts[each.item, each.part] if _id(piece.entry) > after)
        ms = min(each.ms, min(unheard, default=float("inf")) - each.from_ms)
        if ms > 0:
            yield msgspec.structs.replace(each, ms=ms)


def _until(stretches: Sequence[Stretch], moment_ms: float) -> list[Stretch]:
    """As far as they are heard by then."""
    cut = (msgspec.structs.replace(each, ms=min(each.ms, moment_ms - each.begins_ms)) for each in stretches)
    return [each for each in cut if each.ms > SEAM_MS / 2]


def _as_reported(plan: Sequence[Stretch], reports: Sequence[Played]) -> Iterator[Stretch]:
    """When it was heard by the client's own word, as far as there is any."""
    for (item, part), group in groupby(plan, lambda each: (each.item, each.part)):
        stretches = list(group)
        first, ends = stretches[0], max(each.from_ms + each.ms for each in stretches)
        words = [(first.from_ms, 0.0)]
        for report in reports:
            if (report.item, report.part) == (item, part) and words[-1][0] < report.ms <= ends + SEAM_MS:
                words.append((report.ms, report.at_ms))
        if len(words) == 1:
            yield from stretches
        else:
            yield from _between(words, msgspec.structs.replace(first, ms=ends - first.from_ms))


def _between(words: Sequence[tuple[float, float]], whole: Stretch) -> Iterator[Stretch]:
    """Of all that was heard of a part: `words` are places in it, and when they were reached; of the first nobody knows."""
    lengths = [round((b - a) * SAMPLES_PER_MS) for (a, _), (b, _) in pairwise(words)]
    times = [round(at * SAMPLES_PER_MS) for _, at in words[1:]]
    begins = place(list(zip(lengths, times, strict=True)), LOOK_AHEAD_MS)
    last: Stretch | None = None
    for at, begin in enumerate(begins):
        low, high = words[at][0], whole.from_ms + whole.ms if at == len(begins) - 1 else words[at + 1][0]
        begins_ms = begin / SAMPLES_PER_MS
        if last is not None and abs(last.ends_ms - begins_ms) <= SEAM_MS:
            last = msgspec.structs.replace(last, ms=high - last.from_ms)
            continue
        if last is not None:
            yield last
        last = msgspec.structs.replace(whole, from_ms=low, ms=high - low, begins_ms=begins_ms)
    if last is not None:
        yield last


def _id(entry: str) -> tuple[int, int]:
    left, _, right = entry.partition("-")
    return int(left or 0), int(right or 0)


# ---- the log ---------------------------------------------------------------------------------------------------------


def _log(
    begins_ms: int,
    switches: Sequence[Switch],
    events: Sequence[Happened],
    user: Sequence[Placement],
    model: Sequence[tuple[Placement, Stretch]],
    heard: Sequence[Plays | Gone],
) -> list[dict[str, object]]:
    log: list[dict[str, object]] = []

    def add(at_ms: float, type_: str, **more: object) -> None:
        log.append({"ms": round(at_ms - begins_ms), "type": type_, **more})

    for switch in switches:
        add(switch.at_ms, "recording.on" if switch.on else "recording.off", by=switch.by)
    for at, samples in _joined(user):
        add(at / SAMPLES_PER_MS, "user.audio", for_ms=round(samples / SAMPLES_PER_MS))
    for stretch in dict.fromkeys(stretch for _, stretch in model):
        place_ = {"item": stretch.item, "part": stretch.part, "from_ms": round(stretch.from_ms)}
        add(stretch.begins_ms, "model.audio", for_ms=round(stretch.ms), **place_)
    connections: set[str] = set()
    for line in heard:
        if isinstance(line, Gone):
            add(line.at_ms, "client.left")
        elif line.connection not in connections:
            connections.add(line.connection)
            add(line.at_ms, "client.hears")
    for event in events:
        add(event.at_ms, event.type, **({} if bytes(event.body) == b"null" else {"event": event.body}))
    return sorted(log, key=lambda line: int(str(line["ms"])))


def _joined(placements: Sequence[Placement]) -> Iterator[tuple[int, int]]:
    """Where sound is, without a break."""
    begin = end = 0
    for each in placements:
        if end and each.at <= end:
            end = max(end, each.at + each.samples)
            continue
        if end:
            yield begin, end - begin
        begin, end = each.at, each.at + each.samples
    if end:
        yield begin, end - begin
