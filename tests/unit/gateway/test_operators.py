"""Who may operate, who may listen, and how long an address that tries keys is not heard."""

from __future__ import annotations

import pytest

from gateway.errors import AdminOff, NoAdminKey, NoListenKey, TooManyTries
from gateway.operators import MAX_ADDRESSES, TRIES, TRY_WINDOW_S, Failures, Operators

ADMIN, LISTEN = "a" * 32, "b" * 32


def test_each_right_is_its_own() -> None:
    operators = Operators(ADMIN, LISTEN)
    operators.check(ADMIN, "x", 0, acts=True)
    operators.check(LISTEN, "x", 0, listens=True)
    operators.check(LISTEN, "x", 0)
    with pytest.raises(NoListenKey):
        operators.check(ADMIN, "x", 0, listens=True)
    with pytest.raises(NoAdminKey):
        operators.check(LISTEN, "x", 0, acts=True)
    with pytest.raises(NoAdminKey):
        operators.check(None, "x", 0)


def test_without_a_key_nobody_operates_or_listens() -> None:
    with pytest.raises(AdminOff):
        Operators("", "").check(ADMIN, "x", 0)
    with pytest.raises(NoListenKey):
        Operators(ADMIN, "").check(ADMIN, "x", 0, listens=True)


def test_after_some_wrong_keys_the_right_one_waits_too() -> None:
    """Of that address alone, and only for the rest of the time. What is not shown is not tried."""
    operators = Operators(ADMIN, LISTEN)
    for second in range(TRIES):
        with pytest.raises(NoAdminKey):
            operators.check(None, "x", second)
        with pytest.raises(NoAdminKey):
            operators.check("wrong", "x", second)
    with pytest.raises(TooManyTries) as told:
        operators.check(ADMIN, "x", 10)
    assert told.value.headers["Retry-After"] == f"{TRY_WINDOW_S - 10:.0f}"
    operators.check(ADMIN, "y", 10)
    operators.check(ADMIN, "x", TRY_WINDOW_S)


def test_addresses_are_forgotten_when_there_are_too_many() -> None:
    failures = Failures()
    for _ in range(TRIES):
        failures.failed("first", 0)
    assert failures.wait_s("first", 0) > 0
    for number in range(MAX_ADDRESSES):
        failures.failed(f"{number}", 0)
    assert failures.wait_s("first", 0) == 0
