"""PURE. Why a task group ended."""

from __future__ import annotations

from collections.abc import Sequence


def cause_of(group: ExceptionGroup[Exception], by_weight: Sequence[type[Exception]]) -> Exception:
    """Several tasks may have failed at once: what stands first in `by_weight` counts."""
    for kind in by_weight:
        matching = group.subgroup(kind)
        if matching is not None:
            return _leaf(matching)
    return _leaf(group)


def _leaf(group: ExceptionGroup[Exception]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
