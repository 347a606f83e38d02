"""The control endpoint, on the simulator's own port: what was received, and what shall go wrong from now on.

GET /simulator/sessions                    each session since the start: samples, client events, responses
GET /simulator/sessions/{id}/audio         the audio it received, as it came; `?of=committed`: what was committed
POST /simulator/faults                     {"faults": ["close=1011@7"]}: for connections from now on, #1 is the next;
                                           with "session": for that one, which is running, counted from now
DELETE /simulator/faults                   nothing goes wrong on connections from now on
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from simulator.connect import may_control
from simulator.errors import Refused
from simulator.faults import BadFault, Fault
from simulator.options import Options
from simulator.recording import Recording
from simulator.tally import Tally
from simulator.wire import Json, Object, decode

_TOLD = 1024
"""The latest sessions whose counts are kept."""


class Numbers:
    """Of connections, from 1."""

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        self.last += 1
        return self.last


@dataclass(slots=True)
class Entry:
    """What is told of one session."""

    id: str
    model: str
    connection: int
    recording: Recording
    tally: Tally
    add_faults: Callable[[Sequence[Fault]], None] | None
    """None when it has ended"""

    def wire(self) -> Object:
        told: Object = {"id": self.id, "model": self.model, "connection": self.connection}
        return {**told, "running": self.add_faults is not None, **self.tally.wire()}


class Ledger:
    """The sessions since the start, the latest last. Bounded: the counts of many, the audio of fewer."""

    def __init__(self, recorded: int) -> None:
        self._recorded = recorded
        self._entries: deque[Entry] = deque(maxlen=_TOLD)

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)
        if len(self._entries) > self._recorded:
            self._entries[-1 - self._recorded].recording.forget_audio()

    def find(self, session_id: object) -> Entry | None:
        return next((entry for entry in self._entries if entry.id == session_id), None)

    def wire(self) -> list[Json]:
        return [entry.wire() for entry in self._entries]


NUMBERS = web.AppKey("numbers", Numbers)
FAULTS: web.AppKey[list[Fault]] = web.AppKey("faults", list)
LEDGER = web.AppKey("ledger", Ledger)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(app: web.Application, options: Options) -> None:
    def guarded(handler: _Handler) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if not may_control(options, request.headers):
                return _error(401, "This simulator wants its API key.")
            return await handler(request)

        return handle

    app.router.add_get("/simulator/sessions", guarded(_sessions))
    app.router.add_get("/simulator/sessions/{id}/audio", guarded(_audio))
    app.router.add_post("/simulator/faults", guarded(_add_faults))
    app.router.add_delete("/simulator/faults", guarded(_clear_faults))


async def _sessions(request: web.Request) -> web.Response:
    return web.json_response({"sessions": request.app[LEDGER].wire()})


async def _audio(request: web.Request) -> web.Response:
    entry = request.app[LEDGER].find(request.match_info["id"])
    if entry is None:
        return _error(404, "There is no such session.")
    is_committed = request.query.get("of") == "committed"
    audio = b"".join(entry.recording.utterances) if is_committed else bytes(entry.recording.appended)
    return web.Response(body=audio, content_type="application/octet-stream")


async def _add_faults(request: web.Request) -> web.Response:
    app = request.app
    try:
        order = decode(await request.read())
        faults = _faults(order)
    except (Refused, BadFault) as error:
        return _error(400, str(error))
    if "session" not in order:
        app[FAULTS].extend(each.later(app[NUMBERS].last) for each in faults)
        return web.json_response({"faults": len(faults)})
    entry = app[LEDGER].find(order["session"])
    if entry is None or entry.add_faults is None:
        return _error(404, "There is no such session, or it has ended.")
    if any(each.kind == "http" for each in faults):
        return _error(400, "A session that is running cannot be refused any more.")
    entry.add_faults(faults)
    return web.json_response({"faults": len(faults)})


async def _clear_faults(request: web.Request) -> web.Response:
    request.app[FAULTS].clear()
    return web.json_response({"faults": 0})


def _faults(order: Object) -> list[Fault]:
    listed = order.get("faults")
    if not isinstance(listed, list):
        raise BadFault('Faults are asked for with {"faults": ["close=1011@7"]}.')
    return [Fault.parse(str(each)) for each in listed]


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)
