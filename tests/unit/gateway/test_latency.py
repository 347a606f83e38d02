"""One-way latency by the sender's clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.latency import HIGHEST_MS, WINDOW, Latencies


def test_nothing_is_known_before_the_first_packet() -> None:
    assert Latencies().report() is None


def test_the_report_is_of_the_last_packets() -> None:
    latencies = Latencies()
    for latency in [50_000, *range(1, WINDOW + 1)]:
        assert latencies.took(1_000, 1_000 + latency) == latency
    report = latencies.report()
    assert report == {"packets": WINDOW, "skewed": 0, "last": WINDOW, "p50": WINDOW // 2, "p95": -(-WINDOW * 95 // 100)}


@given(st.integers(-(2**63), 2**63 - 1))
def test_only_what_can_be_is_counted(sent_ms: int) -> None:
    """Whatever stands where the time should."""
    now_ms = 1_800_000_000_000
    latencies = Latencies()
    took = latencies.took(sent_ms, now_ms)
    assert (took is not None) == (now_ms - HIGHEST_MS <= sent_ms <= now_ms)
    assert latencies.skewed == (took is None)
