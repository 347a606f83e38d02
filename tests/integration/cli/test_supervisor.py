"""The supervisor with children of a line or two."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from cli.errors import ChildEnded
from cli.restarts import RestartPolicy
from cli.supervisor import ChildSpec, Supervisor
from runtime.errors import StartError
from tests.integration.cli.running import eventually

READY = "from runtime.notify import ready; ready(); "
WAITS = "import time; time.sleep(60)"


class Shown:
    """What a supervisor has shown and said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.sentences: list[str] = []

    def supervisor(self, policy: RestartPolicy | None = None) -> Supervisor:
        """One that restarts without waiting, unless told otherwise."""
        return Supervisor(
            lambda _, line: self.lines.append(line), self.sentences.append, lambda: policy or RestartPolicy(backoff_s=0.0)
        )


def python(code: str, name: str = "child") -> ChildSpec:
    """A child that runs this."""
    return ChildSpec(name, [sys.executable, "-c", code])


async def test_a_child_that_does_not_get_ready_in_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it said last."""
    shown = Shown()
    limit = asyncio.timeout(None)
    children = [python(READY + WAITS, "quick"), python(f"print('a moment please', flush=True); {WAITS}", "slow")]
    async with shown.supervisor() as supervisor:
        with monkeypatch.context() as patch:
            patch.setattr("asyncio.timeout", lambda _: limit)
            starting = asyncio.create_task(supervisor.start(children, limit_s=60.0))
            await asyncio.sleep(0)  # it sets its limit before all else
        await eventually(lambda: supervisor.waiting_for == ["slow"] and "a moment please" in shown.lines)
        limit.reschedule(0.0)
        with pytest.raises(StartError, match=r"^Not ready after 60 s: slow\. slow said last: a moment please$"):
            await starting
        assert supervisor.waiting_for == ["slow"]


async def test_a_program_that_is_not_there_cannot_be_started() -> None:
    """The system's words are in the sentence."""
    async with Shown().supervisor() as supervisor:
        with pytest.raises(ChildEnded, match=r"child could not be started: .*No such file"):
            await supervisor.start([ChildSpec("child", ["/nowhere/program"])])


async def test_a_child_killed_while_it_starts_is_told_by_its_signal() -> None:
    """It had no last words."""
    async with Shown().supervisor() as supervisor:
        with pytest.raises(ChildEnded, match=r"^child was ended by SIGKILL\.$"):
            await supervisor.start([python("import os; os.kill(os.getpid(), 9)")])


async def test_children_know_whom_to_tell_and_live_in_a_session_of_their_own() -> None:
    """So that Ctrl-C reaches only us, and our end reaches them."""
    shown = Shown()
    code = "import os; print(os.environ['PARLEY_PARENT_PID'], os.getsid(0) == os.getpid(), os.environ['COLOUR']); "
    async with shown.supervisor() as supervisor:
        spec = ChildSpec("child", [sys.executable, "-c", code + READY + WAITS], {"COLOUR": "red"})
        await supervisor.start([spec])
        await eventually(lambda: bool(shown.lines))
    assert shown.lines == [f"{os.getpid()} True red"]


async def test_a_line_without_end_is_shown_in_pieces() -> None:
    """And does not grow in our memory."""
    shown = Shown()
    code = "import sys; sys.stdout.write('x' * 300_000); sys.stdout.write('\\nlast'); sys.exit(1)"
    async with shown.supervisor() as supervisor:
        with pytest.raises(ChildEnded, match="child did not start: last"):
            await supervisor.start([python(code)])
    assert sum(map(len, shown.lines[:-1])) == 300_000
    assert max(map(len, shown.lines)) < 140_000


async def test_work_is_cancelled_when_a_child_ends_for_good(tmp_path: Path) -> None:
    """Its death is the reason that matters."""
    work_ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            work_ended.set()

    shown = Shown()
    async with shown.supervisor(RestartPolicy(limit=0)) as supervisor:
        goes = tmp_path / "goes"
        wait = f"import os, time\nwhile not os.path.exists({str(goes)!r}): time.sleep(0.01)"
        await supervisor.start([python(f"{READY}\n{wait}")])
        goes.touch()
        with pytest.raises(ChildEnded, match="child ended 1 times within 60 s: ended with code 0"):
            await supervisor.during(work())
        assert work_ended.is_set()


async def test_work_gives_its_result() -> None:
    """When no child ends."""

    async def work() -> int:
        return 42

    async with Shown().supervisor() as supervisor:
        assert await supervisor.during(work()) == 42


async def test_a_child_that_does_not_end_when_asked_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time limit."""
    monkeypatch.setattr("cli.supervisor.STOP_LIMIT_S", 0.05)
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    async with Shown().supervisor() as supervisor:
        await supervisor.start([python(code + READY + WAITS)])
        async with asyncio.timeout(5):
            await supervisor.stop()
