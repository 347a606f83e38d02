"""The transcoder process: what its sessions share, from start to stop."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack

from runtime.errors import StartError
from runtime.heartbeat import heart
from runtime.metrics import exposed
from runtime.notify import ready
from streams.dispatch import Assignment, Assignments
from streams.errors import ServerUnfit, StreamUnavailable
from streams.hub import open_hub
from streams.workforce import Workforce
from transcoder.errors import DecoderFailed
from transcoder.lifetime import Lifetime
from transcoder.metrics import Metrics
from transcoder.recorder import Calls
from transcoder.recording import Recordings
from transcoder.sandbox import DecoderPool
from transcoder.settings import TranscoderSettings
from transcoder.shelf import Shelf
from transcoder.stream_pool import StreamPool
from transcoder.worker import Resources, SessionTranscoder


async def serve(settings: TranscoderSettings, stop: asyncio.Event) -> None:
    """Transcode sessions until `stop` is set. Raises StartError when Redis or the decoders are not there."""
    owner = f"{socket.gethostname()}:{os.getpid()}"
    lifetime = Lifetime(settings.decoder_minutes * 60, settings.decoder_files)
    beat = heart(settings.heartbeat)
    try:
        async with AsyncExitStack() as stack:
            hub = await stack.enter_async_context(open_hub(settings.redis_url))
            pool = await stack.enter_async_context(DecoderPool(settings.decoders, lifetime=lifetime))
            streams = await stack.enter_async_context(StreamPool(settings.stream_decoders, lifetime=lifetime))
            assignments = Assignments(hub, "transcoder", owner)
            await assignments.open()
            recordings = Recordings(settings.recordings)
            stack.callback(recordings.close)
            metrics = Metrics()
            calls = Calls(settings.recordings, settings.record_format)
            stack.callback(calls.close)
            shelf = asyncio.create_task(Shelf(hub, calls, settings.record_days).run(), name="shelf")
            stack.callback(shelf.cancel)
            resources = Resources(hub, pool, recordings, streams, metrics, calls)

            def start(assignment: Assignment) -> SessionTranscoder:
                return SessionTranscoder(assignment.session, resources)

            workforce = Workforce(assignments, start, settings.max_sessions, beat, settings.drain_s)
            metrics.count_sessions(lambda: workforce.sessions)
            await stack.enter_async_context(exposed(metrics, settings))
            ready()
            await workforce.run(stop)
    except (StreamUnavailable, ServerUnfit, DecoderFailed) as error:
        raise StartError(str(error)) from error
