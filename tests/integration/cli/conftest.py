"""`parley up` with stand-ins for its services."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.integration.cli import fake_service
from tests.integration.cli.running import REPOSITORY, Parley, parley

Up = Callable[..., AbstractAsyncContextManager[Parley]]


@pytest.fixture
def fake_log(tmp_path: Path) -> Path:
    """Where the stand-ins write their starts and ends."""
    path = tmp_path / "log"
    path.touch()
    return path


@pytest.fixture
def up(tmp_path: Path, fake_log: Path) -> Up:
    """`parley up` in an empty directory; keyword arguments go to the environment."""
    fake_service.install(tmp_path / "fakes")
    work = tmp_path / "work"
    work.mkdir()

    def start(*arguments: str, **environment: str) -> AbstractAsyncContextManager[Parley]:
        path = os.pathsep.join([str(tmp_path / "fakes"), str(REPOSITORY)])
        return parley(["up", *arguments], work, {"PYTHONPATH": path, "FAKE_LOG": str(fake_log), **environment})

    return start
