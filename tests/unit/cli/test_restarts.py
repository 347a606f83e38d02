"""The restart policy, a minute of it in a millisecond."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cli.restarts import GiveUp, Restart, RestartPolicy


def test_the_first_death_is_answered_at_once() -> None:
    """Nobody can talk while the child is away."""
    assert RestartPolicy().died(0.0) == Restart(wait_s=0.0)


def test_each_further_restart_waits_longer() -> None:
    """What the child misses may be starting itself."""
    policy = RestartPolicy(backoff_s=0.5)
    assert [policy.died(now) for now in (1.0, 2.0, 3.0)] == [Restart(0.0), Restart(0.5), Restart(1.0)]


def test_the_fourth_death_within_a_minute_is_the_last() -> None:
    """Three restarts a minute, then it gives up."""
    policy = RestartPolicy()
    for now in (0.0, 20.0, 40.0):
        assert isinstance(policy.died(now), Restart)
    assert policy.died(59.9) == GiveUp(deaths=4, within_s=60.0)


def test_deaths_of_an_hour_ago_are_forgotten() -> None:
    """A child that dies once in 21 seconds is started again for ever."""
    policy = RestartPolicy()
    assert all(isinstance(policy.died(21.0 * n), Restart) for n in range(200))


@given(st.lists(st.floats(min_value=0.0, max_value=1000.0), max_size=60).map(sorted))
def test_there_are_never_more_than_three_restarts_in_any_minute(deaths: list[float]) -> None:
    """Whenever the child dies."""
    policy = RestartPolicy()
    restarts = [now for now in deaths if isinstance(policy.died(now), Restart)]
    assert all(later - now >= policy.window_s for now, later in zip(restarts, restarts[3:], strict=False))
