"""PURE. How many of the sessions without a worker are one worker's to take: who looks first is not to end up with all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple


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
