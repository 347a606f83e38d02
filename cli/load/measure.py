"""PURE. What a load run has measured: of turns and of processes, second by second, to a result. Time is an argument.

A turn's latency is what its speaker waits: from the last frame that was said to the first frame of the answer. At doors
where the model finds the end of a turn it contains the silence that the model needs for that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from cli.load.figures import percentile
from cli.load.ledger import Ledger

POINTS = 60
"""In a plot over time, at most."""

PERCENTS = (50, 95, 99)


class Turn(msgspec.Struct, frozen=True):
    """One turn that was answered."""

    at_s: float
    """when its answer began"""
    latency_ms: float


class Cut(msgspec.Struct, frozen=True):
    """One interruption."""

    at_s: float
    stopped_ms: float
    """from the interruption to the last that was heard of the answer before; 0: nothing more was"""


class Sample(msgspec.Struct, frozen=True):
    """How things stood at a moment."""

    at_s: float
    connected: int
    cpu_ms: dict[str, float]
    """by service, of all its processes and their children, since they began"""
    memory_mb: dict[str, float]
    """proportional, of all its processes"""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """Of some seconds."""

    at_s: float
    connected: float
    turns: int
    latency_ms: dict[str, float]
    """`p50`, `p95`, `p99`; empty where no turn was answered"""
    cpu_ms: dict[str, float]
    """by service, for a session and second"""
    memory_mb: dict[str, float]


class Class(msgspec.Struct, frozen=True, kw_only=True):
    """All sessions of one client class."""

    client: str
    sessions: int
    turns: int
    unanswered: int
    latency_ms: dict[str, float]
    interruptions: int
    stopped_ms: dict[str, float]
    troubles: list[str]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run."""

    plan: dict[str, str]
    machine: dict[str, str]
    seconds: float
    session_seconds: float
    latency_ms: dict[str, float]
    cpu_ms: dict[str, float]
    """by service, for a session and second, over the whole run"""
    memory_mb: dict[str, float]
    """by service, the most that it had"""
    classes: list[Class]
    points: list[Point]


def turns_of(ledger: Ledger, spoken: Sequence[range]) -> Iterator[Turn]:
    """Those that were answered; what was lost of a turn is nobody's latency."""
    first: dict[int, float] = {}
    starts = [turn.start for turn in spoken]
    for at, number in ledger.heard:
        place = bisect_right(starts, number) - 1
        if place >= 0 and number in spoken[place]:
            first.setdefault(place, at)
    for place, at in first.items():
        said = [ledger.sent[number] for number in spoken[place] if number in ledger.sent]
        if said:
            yield Turn(at, max(0.0, (at - max(said)) * 1000))


def cuts_of(ledger: Ledger, interrupted: Sequence[tuple[float, range]]) -> Iterator[Cut]:
    """How long the answer before went on to arrive."""
    for since, turn in interrupted:
        late = [at - since for at, number in ledger.heard if number in turn and at > since]
        yield Cut(since, max(late, default=0.0) * 1000)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Empty for none."""
    return {f"p{percent}": round(percentile(values, percent), 1) for percent in PERCENTS} if values else {}


def session_seconds(samples: Sequence[Sample]) -> float:
    """Between the samples, as many as were connected on average."""
    return sum(
        (later.at_s - earlier.at_s) * (earlier.connected + later.connected) / 2 for earlier, later in pairwise(samples)
    )


def cost(samples: Sequence[Sample]) -> dict[str, float]:
    """CPU milliseconds by service, for a session and second. A service that began again counts from there."""
    spent = session_seconds(samples)
    if spent <= 0:
        return {}
    found: dict[str, float] = {}
    for earlier, later in pairwise(samples):
        for service, total in later.cpu_ms.items():
            found[service] = found.get(service, 0.0) + max(0.0, total - earlier.cpu_ms.get(service, total))
    return {service: round(total / spent, 3) for service, total in found.items()}


def most(samples: Sequence[Sample]) -> dict[str, float]:
    """Memory by service."""
    names = {service for sample in samples for service in sample.memory_mb}
    return {name: round(max(sample.memory_mb.get(name, 0.0) for sample in samples), 1) for name in sorted(names)}


def points(turns: Sequence[Turn], samples: Sequence[Sample]) -> list[Point]:
    """As many as make a plot, each of a second or more."""
    if len(samples) < 2:
        return []
    begin, end = samples[0].at_s, samples[-1].at_s
    width = max(1.0, (end - begin) / POINTS)
    found = []
    for number in range(max(1, int((end - begin) / width))):
        since, until = begin + number * width, begin + (number + 1) * width
        within = [sample for sample in samples if since - 0.5 * width <= sample.at_s <= until + 0.5 * width]
        here = [turn.latency_ms for turn in turns if since <= turn.at_s < until]
        if within:
            found.append(
                Point(
                    at_s=round((since + until) / 2, 2),
                    connected=round(sum(sample.connected for sample in within) / len(within), 1),
                    turns=len(here),
                    latency_ms=percentiles(here),
                    cpu_ms=cost(within),
                    memory_mb=most(within),
                )
            )
    return found


def class_of(
    client: str, callers: Sequence[tuple[Ledger, Sequence[range], Sequence[tuple[float, range]]]], troubles: Sequence[str]
) -> Class:
    """Of its sessions: what each has said and heard, its turns, its interruptions."""
    turns = [turn for ledger, spoken, _ in callers for turn in turns_of(ledger, spoken)]
    cuts = [cut for ledger, _, interrupted in callers for cut in cuts_of(ledger, interrupted)]
    return Class(
        client=client,
        sessions=len(callers),
        turns=len(turns),
        unanswered=sum(ledger.unanswered for ledger, _, _ in callers),
        latency_ms=percentiles([turn.latency_ms for turn in turns]),
        interruptions=len(cuts),
        stopped_ms=percentiles([cut.stopped_ms for cut in cuts]),
        troubles=list(troubles[:20]),
    )


def measured(
    plan: Mapping[str, str],
    machine: Mapping[str, str],
    classes: Sequence[Class],
    turns: Sequence[Turn],
    samples: Sequence[Sample],
) -> Measured:
    return Measured(
        plan=dict(plan),
        machine=dict(machine),
        seconds=round(samples[-1].at_s - samples[0].at_s, 1) if samples else 0.0,
        session_seconds=round(session_seconds(samples), 1),
        latency_ms=percentiles([turn.latency_ms for turn in turns]),
        cpu_ms=cost(samples),
        memory_mb=most(samples),
        classes=list(classes),
        points=points(turns, samples),
    )
