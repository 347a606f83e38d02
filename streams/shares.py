"""PURE. How many of the sessions without a worker are one worker's to take: who looks first is not to end up with all.

And when it looks again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

LEFT_S = 0.3
"""For so long, orphans that are the others' are left to them."""


class Worker(NamedTuple):
    """One of a group, as the server knows it."""

    name: str
    sessions: int
    """handed to it"""
    silent_ms: int
    """since it last asked for, kept or claimed anything"""


def share(me: str, workers: Sequence[Worker], orphaned: Collection[str], alive_ms: int) -> int:
    """How many of the orphans this worker may take so that all that are alive have as many as each other.

    `orphaned`: workers that do not keep what they have; they count as dead, as those do that were silent for `alive_ms`.
    All shares together are enough for all orphans.
    """
    mine = sum(worker.sessions for worker in workers if worker.name == me)
    others = sum(worker.name != me and worker.name not in orphaned and worker.silent_ms < alive_ms for worker in workers)
    every = sum(worker.sessions for worker in workers)
    return max(0, -(-every // (1 + others)) - mine)


def look_again_s(idle_ms: Collection[int], orphan_ms: int, *, has_left_some: bool, at_latest_s: float) -> float:
    """When to look for orphans next: as soon as there is one more, if nobody keeps it until then.

    `idle_ms`: how long each of those was not kept that are no orphans yet. `has_left_some`: some are left to others.
    """
    soonest_ms = orphan_ms - max(idle_ms, default=0)
    return min(soonest_ms / 1000, LEFT_S if has_left_some else at_latest_s, at_latest_s)
