"""Rounds of measurements, the arms taking turns, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec
from redis import Redis

from bench.messages import Began, Ended, Order, Report, Result, report_decoder
from bench.record import ARMS, RECORDING_ARMS, Arm, Cost, LoadFailed, Measurement, Opening, Record
from bench.service import environment
from bench.stage import Stage
from cli.load import processes
from streams.keys import SESSIONS

OPENED_AT_ONCE = 100
_LOOK_S = 0.5
_DOES_NOTHING_MS = 20.0
"""of CPU between two looks"""
_MADE_LIMIT_S = 20.0
_QUIET_LIMIT_S = 15.0
"""How long the sessions of one measurement may take to end before the next one begins."""


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int = 5
    seconds: float = 5.0
    warm_up_s: float = 1.5
    sessions: tuple[tuple[int, int], ...] = ((10, 10), (50, 50), (100, 20))
    """how many are open, and how many of them talk"""
    recorded: int = 10
    recording_rounds: int = 3
    idle: int = 10_000
    """connections on which nobody speaks"""
    opus: int = 20
    """sessions that talk in Opus, and are talked to in it"""

    @property
    def steps(self) -> int:
        """Measurements."""
        talking = self.rounds * len(ARMS) * (len(self.sessions) + 1)
        return talking + 2 * bool(self.idle) + 2 * bool(self.opus) + self.recording_rounds * len(RECORDING_ARMS)


class Rounds:
    def __init__(self, stage: Stage, plan: Plan) -> None:
        self.record = Record({name: processes.memory(pid) for name, pid in stage.pids.items()})
        self._stage, self._plan = stage, plan
        self._first = int(time.time()) % 100_000 * 10_000
        """the number of the next session: none comes twice, not even in another run"""
        self._redis = Redis.from_url(stage.server.url)
        self._ended_cpu = 0.0
        """the transcoder's when the last measurement ended"""

    def run(self) -> Iterator[Measurement | Opening]:
        """Measure; each measurement as it comes, and all of them in `record`."""
        for number in range(1, self._plan.rounds + 1):
            for sessions, talking in self._plan.sessions:
                for arm in ARMS:
                    measured = self.measure(number, sessions, talking, arm)
                    self.record.measurements.append(measured)
                    yield measured
            for arm in ARMS:
                opened = self._open(number, arm)
                self.record.openings.append(opened)
                yield opened

    def measure(
        self, number: int, sessions: int, talking: int, arm: Arm, during: Callable[[], None] = lambda: None
    ) -> Measurement:
        """One arm. `during` is called when the measurement has begun, and must not block."""
        order = self._order(number, sessions, talking, arm, self._plan.seconds)
        reports: list[Report] = []
        looks: list[_Look] = []
        with self._load(order) as (pid, said):
            pids = {**self._stage.pids, "client": pid, "bench": os.getpid()}
            for report in said:
                reports.append(report)
                match report:
                    case Began():
                        looks.append(_Look.at(pids))
                        during()
                    case Ended():
                        looks.append(_Look.at(pids))
                        # Not of the load: on a busy machine it may be over by now.
                        if "transcoder" in self._stage.pids:
                            self._ended_cpu = processes.cpu(self._stage.pids["transcoder"]).own
                        remembered = {name: processes.memory(pid) for name, pid in self._stage.pids.items()}
        self._wait_until_quiet()
        before, after = looks
        seconds = after.at_s - before.at_s
        total = after.machine.total - before.machine.total
        busy = max(0.0, total - (after.machine.idle - before.machine.idle))
        spent = {name: (after.cpu[name].own - before.cpu[name].own) for name in pids}
        # `bench` has started all others: what its children need is counted with them.
        childrens = {name: 0.0 if name == "bench" else after.cpu[name].children - before.cpu[name].children for name in pids}
        ours = sum(spent.values()) + sum(childrens.values())
        return Measurement(
            number,
            sessions,
            talking,
            arm,
            _result(reports),
            seconds,
            {name: Cost(spent[name] / sessions / seconds, childrens[name] / sessions / seconds) for name in pids},
            busy / total * 100,
            max(0.0, busy - ours) / total * 100,
            remembered,
        )

    def record_them(self) -> Iterator[Measurement]:
        """The same sessions recorded and not, in turns, on a RecordingStage."""
        sessions = self._plan.recorded
        for number in range(1, self._plan.recording_rounds + 1):
            for arm in RECORDING_ARMS:
                measured = self.measure(number, sessions, sessions, arm)
                measured = replace(measured, afterwards=self._afterwards(sessions))
                yield measured

    def _afterwards(self, sessions: int) -> float:
        """What the transcoder has still to do, until it does nothing any more."""
        pid, before = self._stage.pids["transcoder"], self._ended_cpu
        deadline, last = time.monotonic() + _MADE_LIMIT_S, -1.0
        while time.monotonic() < deadline:
            spent = processes.cpu(pid).own
            if spent - last < _DOES_NOTHING_MS:
                break
            last = spent
            time.sleep(_LOOK_S)
        return (spent - before) / sessions / (self._plan.warm_up_s + self._plan.seconds)

    def close(self) -> None:
        self._redis.close()

    def _open(self, number: int, arm: Arm) -> Opening:
        reports: list[Report] = []
        with self._load(self._order(number, OPENED_AT_ONCE, OPENED_AT_ONCE, arm, 0.0)) as (_, said):
            reports.extend(said)
        self._wait_until_quiet()
        return Opening(number, OPENED_AT_ONCE, arm, _result(reports))

    def _order(self, number: int, sessions: int, talking: int, arm: Arm, seconds: float) -> Order:
        first, self._first = self._first, self._first + sessions
        return Order(self._stage.url(arm), sessions, talking, first, number, self._plan.warm_up_s, seconds)

    @contextmanager
    def _load(self, order: Order) -> Iterator[tuple[int, Iterator[Report]]]:
        """Runs the load process; gives its id and what it says."""
        command = [sys.executable, "-m", "bench.load", msgspec.json.encode(order).decode()]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), start_new_session=True)
        assert process.stdout is not None
        try:
            yield process.pid, (report_decoder.decode(line) for line in process.stdout)
            if process.wait():
                raise LoadFailed(f"The load process has ended with {process.returncode}.")
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def _wait_until_quiet(self) -> None:
        """Until no session is left over, which would be paid for by the next measurement."""
        deadline = time.monotonic() + _QUIET_LIMIT_S
        while self._redis.zcard(SESSIONS) and time.monotonic() < deadline:
            time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class _Look:
    at_s: float
    cpu: dict[str, processes.Cpu]
    machine: processes.Machine

    @classmethod
    def at(cls, pids: dict[str, int]) -> _Look:
        """Now."""
        return cls(time.monotonic(), {name: processes.cpu(pid) for name, pid in pids.items()}, processes.machine())


def _result(reports: list[Report]) -> Result:
    for report in reports:
        if isinstance(report, Result):
            return report
    raise LoadFailed("The load process has said nothing of what it has seen.")
