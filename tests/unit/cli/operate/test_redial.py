"""When a line is dialled again."""

from __future__ import annotations

from cli.operate.redial import GIVE_UP_S, LONGEST_WAIT_S, Redial


def test_it_waits_longer_and_longer_and_gives_up() -> None:
    redial, now, waits = Redial(0.0), 100.0, []
    wait_s = redial.broke(now, 1.0, had_line=True)
    while wait_s is not None:
        waits.append(wait_s)
        now += wait_s
        wait_s = redial.broke(now, 1.0, had_line=False)
    assert waits[:5] == [0.5, 1.0, 2.0, 4.0, LONGEST_WAIT_S]
    assert GIVE_UP_S <= now - 100.0 < GIVE_UP_S + LONGEST_WAIT_S


def test_a_line_that_stood_begins_anew() -> None:
    redial = Redial(0.0)
    for _ in range(4):
        redial.broke(10.0, 1.0, had_line=False)
    redial.answered(20.0)
    assert redial.broke(30.0, 1.0, had_line=True) == 0.5


def test_one_that_breaks_at_once_is_none() -> None:
    """A gateway that dies of it is not asked twice a second; yet it is there, so nobody gives up."""
    redial, now = Redial(0.0), 100.0
    for _ in range(100):
        redial.answered(now)
        wait_s = redial.broke(now, 1.0, had_line=True)
        assert wait_s is not None
        now += wait_s
    assert wait_s == LONGEST_WAIT_S


def test_not_all_come_back_at_once() -> None:
    assert Redial(0.0).broke(1.0, 0.0, had_line=True) == 0.25
