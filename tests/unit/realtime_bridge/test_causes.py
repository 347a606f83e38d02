"""Why a task group ended, when several of its tasks failed at once."""

from __future__ import annotations

from realtime_bridge.causes import cause_of

WEIGHTY, LIGHT, OTHER = LookupError("weighty"), ValueError("light"), OSError("nobody named it")
BY_WEIGHT = (LookupError, ValueError)


def test_what_weighs_most_counts() -> None:
    """However they came."""
    assert cause_of(ExceptionGroup("", [LIGHT, OTHER, WEIGHTY]), BY_WEIGHT) is WEIGHTY
    assert cause_of(ExceptionGroup("", [OTHER, LIGHT]), BY_WEIGHT) is LIGHT


def test_groups_within_groups_are_looked_into() -> None:
    """A line's group stands in its session's."""
    inner = ExceptionGroup("", [OTHER, ExceptionGroup("", [WEIGHTY])])
    assert cause_of(ExceptionGroup("", [LIGHT, inner]), BY_WEIGHT) is WEIGHTY


def test_what_nobody_named_is_the_cause_when_there_is_nothing_else() -> None:
    """A fault of ours is not swallowed."""
    assert cause_of(ExceptionGroup("", [ExceptionGroup("", [OTHER])]), BY_WEIGHT) is OTHER
