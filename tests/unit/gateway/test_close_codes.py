"""The documented table of close codes is the one that the code keeps to."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from gateway import errors
from gateway.doors.openai_refusals import BETA_SHAPE, INVALID_KEY
from gateway.errors import ConnectionOver, NotAdmitted

PAGE = Path(__file__).parents[3] / "docs" / "client-protocols.md"
TABLE = PAGE.read_text().partition("## Close codes")[2].partition("\n## ")[0]
COME_BACK = dict(re.findall(r"^\| (\d{4}) \|.*\| ([^|]+) \|$", TABLE, re.MULTILINE))

CLOSING = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, ConnectionOver | NotAdmitted) and not cls.__subclasses__() and cls.close_code is not None
]


@pytest.mark.parametrize("error", CLOSING, ids=lambda cls: str(cls.__name__))
def test_every_code_says_whether_to_come_back(error: type[ConnectionOver] | type[NotAdmitted]) -> None:
    """As the error itself does."""
    assert COME_BACK[str(error.close_code)].startswith("yes") == error.recoverable


def test_ours_lie_in_their_ranges() -> None:
    """From 4000 on it is "come back", from 4400 on it is not."""
    for error in CLOSING:
        code = error.close_code or 0
        if 4000 <= code < 5000:
            assert error.recoverable == (code < 4400), error


def test_no_row_is_about_nothing() -> None:
    used = {str(error.close_code) for error in CLOSING} | {
        str(INVALID_KEY),
        str(BETA_SHAPE),
        "1009",
    }  # 1009 is said by aiohttp
    assert set(COME_BACK) == used
