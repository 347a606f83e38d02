"""PURE. From what was measured to what is told: each figure over all rounds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bench.record import ARMS, BETWEEN, RECORDING_ARMS, Arm, Measurement, Opening, Record
from cli.load.figures import Spread, added, percentile, ratios, spread

TOO_BUSY_PERCENT = 70
"""Above it, batching makes a system look cheaper than it is, and everything slower."""


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm with so many sessions."""

    sessions: int
    """that were open"""
    talking: int
    arm: Arm
    p50_ms: Spread | None
    p99_ms: Spread | None
    added_p50_ms: Spread | None
    """on top of the direct arm of the same round"""
    added_p99_ms: Spread | None
    cpu: dict[str, Spread]
    """milliseconds per session-second, by process: of each session that was open"""
    cpu_children: dict[str, Spread]
    """of the children of each; those without any are left out"""
    between: Spread
    """the CPU of all that stands between client and simulator"""
    between_to_relay: Spread | None
    """how many times that of the relay of the same round"""
    services_to_relay: Spread | None
    """the same without Redis"""
    busy: Spread
    too_busy: int
    """rounds in which the machine was"""
    others: Spread
    late_p99_ms: Spread
    sent: int
    received: int
    lost: int
    doubled: int
    foreign: int
    broken: int
    troubles: tuple[str, ...]
    memory_rss_mb: dict[str, Spread]
    memory_pss_mb: dict[str, Spread]
    afterwards: Spread | None = None
    """the transcoder's CPU when they were over, for each second of a session"""


@dataclass(frozen=True, slots=True)
class OpeningSummary:
    arm: Arm
    sessions: int
    opened: int
    """of all rounds"""
    p50_ms: Spread | None
    p95_ms: Spread | None
    max_ms: Spread | None
    troubles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    arms: list[ArmSummary]
    openings: list[OpeningSummary]
    recordings: list[ArmSummary] = field(default_factory=list)
    """what is added is on top of the same sessions when they are not recorded"""


def summarise(record: Record) -> Summary:
    counts = sorted({(measured.sessions, measured.talking) for measured in record.measurements})
    arms = [_arm(record.measurements, *count, arm) for count in counts for arm in ARMS]
    openings = [_opening([each for each in record.openings if each.arm == arm], arm) for arm in ARMS]
    floor: Arm = "not recorded"
    recorded = {(each.sessions, each.talking) for each in record.recordings}
    recordings = [
        _arm(record.recordings, *count, arm, floor=floor, relay=floor) for count in recorded for arm in RECORDING_ARMS
    ]
    return Summary(arms, openings, recordings)


def _arm(
    all_: list[Measurement], sessions: int, talking: int, arm: Arm, *, floor: Arm = "direct", relay: Arm = "relay"
) -> ArmSummary:
    measured: defaultdict[Arm, list[Measurement]] = defaultdict(list)
    for each in all_:
        if (each.sessions, each.talking) == (sessions, talking):
            measured[each.arm].append(each)
    ours, direct = measured[arm], measured[floor]
    between = _by_round(ours, _between)
    bare = _by_round(measured[relay], _between)
    services = _by_round(ours, _services)
    names = list(ours[0].cpu)
    clients = [each.clients for each in ours]
    return ArmSummary(
        sessions,
        talking,
        arm,
        _spread(_by_round(ours, _p50).values()),
        _spread(_by_round(ours, _p99).values()),
        _spread(added(_by_round(ours, _p50), _by_round(direct, _p50))),
        _spread(added(_by_round(ours, _p99), _by_round(direct, _p99))),
        {name: spread([each.cpu[name].own for each in ours]) for name in names},
        {
            name: spread([each.cpu[name].children for each in ours])
            for name in names
            if any(each.cpu[name].children for each in ours)
        },
        spread(list(between.values())),
        _spread(ratios(between, bare)),
        _spread(ratios(services, bare)),
        spread([each.busy for each in ours]),
        sum(each.busy > TOO_BUSY_PERCENT for each in ours),
        spread([each.others for each in ours]),
        spread([each.late_p99_ms for each in clients]),
        sum(each.sent for each in clients),
        sum(each.received for each in clients),
        sum(each.lost for each in clients),
        sum(each.doubled for each in clients),
        sum(each.foreign for each in clients),
        sum(each.broken for each in clients),
        tuple(trouble for each in clients for trouble in each.troubles),
        {name: spread([each.memory[name].rss for each in ours]) for name in ours[0].memory},
        {name: spread([each.memory[name].pss for each in ours]) for name in ours[0].memory},
        spread([each.afterwards for each in ours]) if any(each.afterwards for each in ours) else None,
    )


def _opening(openings: list[Opening], arm: Arm) -> OpeningSummary:
    times = [each.clients.opened_ms for each in openings if each.clients.opened_ms]
    return OpeningSummary(
        arm,
        openings[0].sessions if openings else 0,
        sum(map(len, times)),
        _spread([percentile(each, 50) for each in times]),
        _spread([percentile(each, 95) for each in times]),
        _spread([max(each) for each in times]),
        tuple(trouble for each in openings for trouble in each.clients.troubles),
    )


def _by_round(measured: list[Measurement], figure: Callable[[Measurement], float | None]) -> dict[int, float]:
    found = {each.round: figure(each) for each in measured}
    return {number: value for number, value in found.items() if value is not None}


def _p50(measured: Measurement) -> float | None:
    return measured.clients.round_trip.p50 if measured.clients.round_trip else None


def _p99(measured: Measurement) -> float | None:
    return measured.clients.round_trip.p99 if measured.clients.round_trip else None


def _between(measured: Measurement) -> float:
    return sum(measured.cpu[name].own + measured.cpu[name].children for name in BETWEEN[measured.arm])


def _services(measured: Measurement) -> float:
    names = [name for name in BETWEEN[measured.arm] if name != "redis"]
    return sum(measured.cpu[name].own + measured.cpu[name].children for name in names)


def _spread(values: Iterable[float]) -> Spread | None:
    found = list(values)
    return spread(found) if found else None
