"""The whole run, one part after the other: sessions that talk, idle connections, Opus, recordings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing

from bench import idle, media_sessions, report
from bench.machine import LIBRARIES, describe
from bench.media import CHUNK_S, LIVE, STREAM_S, chunks_of
from bench.media_record import SessionCost
from bench.record import LoadFailed, Record
from bench.rounds import Plan, Rounds
from bench.stage import RecordingStage, Stage
from runtime.errors import StartError
from tests.media.make_media import make_stream, speech
from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE


class WholeRun:
    """`record` and `machine` are there when `go` has begun, and whole at its end."""

    def __init__(self, plan: Plan) -> None:
        self.record: Record | None = None
        self.machine: dict[str, str] = {}
        self._plan = plan

    def go(self) -> Iterator[str]:
        """A line for each step, as it is done. Raises LoadFailed, StartError, ServerError from the first part.

        Of the others each may be left out, with a line that says why.
        """
        with Stage() as stage, closing(Rounds(stage, self._plan)) as rounds:
            self.machine = describe(stage.server.binary, (*LIBRARIES, "av"))
            self.record = rounds.record
            yield from map(report.line, rounds.run())
        for part in (self._idle, self._opus, self._recordings):
            try:
                yield from part(self.record)
            except (LoadFailed, StartError) as error:  # what was measured before is not lost by it
                yield f"Left out: {error}"

    def _idle(self, record: Record) -> Iterator[str]:
        if self._plan.idle:
            for one in idle.measure(self._plan.idle):
                record.idle_connections.append(one)
                yield report.idle_line(one)

    def _opus(self, record: Record) -> Iterator[str]:
        if self._plan.opus:
            for both in (False, True):
                record.opus.append(asyncio.run(_opus(self._plan.opus, self._plan.seconds, both=both)))
                yield report.opus_line(record.opus[-1])

    def _recordings(self, record: Record) -> Iterator[str]:
        if self._plan.recording_rounds:
            with RecordingStage() as stage, closing(Rounds(stage, self._plan)) as rounds:
                for done in rounds.record_them():
                    record.recordings.append(done)
                    yield report.line(done)


async def _opus(sessions: int, seconds: float, *, both: bool) -> SessionCost:
    """What browsers record, and what is said to them."""
    data = make_stream(LIVE[0], STREAM_S)
    chunks = list(chunks_of(data, int(len(data) * CHUNK_S / STREAM_S)))
    voice = speech("speech_jfk", SAMPLE_RATE, "mono").astype("<i2").tobytes()
    said = (voice * 2)[: round(STREAM_S * SAMPLE_RATE) * BYTES_PER_SAMPLE]
    return await media_sessions.measure(chunks, said, sessions=sessions, seconds=seconds, both=both)
