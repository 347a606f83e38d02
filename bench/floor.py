"""PURE. How far Parley is from the least that gateway, Redis and bridge can cost: what is told of `bench.barest`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.record import BETWEEN, Arm, Measurement
from cli.load.figures import percentile

ARMS: tuple[Arm, ...] = ("relay", "barest", "parley")


def services_ms(measured: Measurement) -> float:
    """CPU of all that stands between client and model, but for Redis, in milliseconds per session and second."""
    return sum(measured.cpu[name].own for name in BETWEEN[measured.arm] if name != "redis")


def told(measured: Sequence[Measurement]) -> Iterable[str]:
    """A line an arm, of the medians of its rounds."""
    medians = {arm: _median(services_ms(each) for each in measured if each.arm == arm) for arm in ARMS}
    for arm, ms in medians.items():
        rounds = [each for each in measured if each.arm == arm]
        p50 = _median(each.clients.round_trip.p50 for each in rounds if each.clients.round_trip is not None)
        busy = _median(each.busy for each in rounds)
        yield f"{arm:>7} {ms:6.2f} ms, {ms / medians['relay']:.1f} of the relay; p50 {p50:.2f} ms; machine {busy:.0f} % busy"


def _median(values: Iterable[float]) -> float:
    return percentile(sorted(values), 50)
