"""What the bench and its load process say to each other: a line of JSON each."""

from __future__ import annotations

import msgspec


class Order(msgspec.Struct, frozen=True):
    """To the load process, as its only argument."""

    url: str
    """of `/v1/realtime`, with its scheme"""
    sessions: int
    talking: int
    """of these; each other one says a single frame and hears it, and is silent from then on"""
    first: int
    """the number of the first session; no two sessions of a run have the same"""
    seed: int
    """of the moments at which the sessions speak: the arms of a round have the same"""
    warm_up_s: float = 0.0
    seconds: float = 0.0
    """how long is measured; 0: open the sessions at once, and end with their first echoes"""


class Began(msgspec.Struct, frozen=True, tag="began"):
    """The measurement begins now."""


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The measurement ends now."""


class RoundTrip(msgspec.Struct, frozen=True):
    """Milliseconds from a frame's sending to its last byte coming back."""

    frames: int
    p50: float
    p95: float
    p99: float
    max: float


class Result(msgspec.Struct, frozen=True, tag="result"):
    """What the clients have seen. Frames are counted over the whole life of the sessions, with the warm-up."""

    sent: int = 0
    received: int = 0
    lost: int = 0
    doubled: int = 0
    foreign: int = 0
    """frames of another session"""
    broken: int = 0
    """places where something else stood than a frame"""
    troubles: tuple[str, ...] = ()
    """errors told, and connections that ended"""
    round_trip: RoundTrip | None = None
    """of the frames sent while it was measured"""
    late_p99_ms: float = 0.0
    """how late the client itself was to speak: far above a few ms, and the machine was too busy to measure"""
    opened_ms: tuple[float, ...] = ()
    """of each session, from the common start to its first echo"""


Report = Began | Ended | Result
report_decoder = msgspec.json.Decoder(Report)


class IdleOrder(msgspec.Struct, frozen=True):
    """To the process of the idle listeners, as its only argument."""

    url: str
    """of the event stream"""
    connections: int
    secret: str
    """that the gateway verifies tokens with: each listener is a user of its own"""


class IdleReport(msgspec.Struct, frozen=True):
    """How they are, whenever it is asked for (a line to standard input)."""

    open: int
    opened_s: float
    """from the first to the last"""
    keepalives: int
    """that have come so far, to all"""
    refusals: tuple[str, ...] = ()
