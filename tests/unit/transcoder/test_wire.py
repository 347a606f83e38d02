"""Messages between worker and child."""

from __future__ import annotations

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcoder import wire

MESSAGES: list[wire.Message] = [
    wire.Ready("seccomp", "landlock (Function not implemented)"),
    wire.DecodeFile(1, b"\x00\xff", 2.5),
    wire.Progress(1, 5.0),
    wire.FileDecoded(1, b"\x01\x02", "m4a", "aac", 44_100, 2, 1.0, 0),
    wire.FeedStream(1, "stream", b"kept", b"\x1a", True, False, 2.0),
    wire.CloseStream(1, True, 2.0),
    wire.StreamHeard(1, b"\x01\x02", 0.1, 1, "opus 48000 Hz 1 ch", b"kept"),
    wire.Refused(1, "too_long", "too long", {"found_s": 3.0}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives(message: wire.Message) -> None:
    """What is packed is unpacked, for each class of the union."""
    packed = wire.pack(message)
    header, body = packed[: wire.HEADER_BYTES], packed[wire.HEADER_BYTES :]
    assert wire.body_bytes(header) == len(body)
    assert wire.unpack(body) == message


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"op": "nonsense"},
        {"op": ["ready"]},
        {"op": "ready", "more": 1},
        {"op": "progress", "stream": 1},
        {"op": "progress", "stream": True, "decoded_s": 1.0},
        {"op": "progress", "stream": "1", "decoded_s": 1.0},
        {"op": "refused", "stream": 1, "code": "x", "message": "y" * 5000, "facts": {}},
        {"op": "refused", "stream": 1, "code": "x", "message": "y", "facts": {"a": "b"}},
    ],
)
def test_all_else_is_refused(content: object) -> None:
    with pytest.raises(wire.WireError):
        wire.unpack(msgpack.packb(content))


def test_no_message_is_endless() -> None:
    with pytest.raises(wire.WireError):
        wire.body_bytes(b"\xff\xff\xff\xff")
    with pytest.raises(wire.WireError):
        wire.pack(wire.DecodeFile(1, bytes(wire.MAX_MESSAGE_BYTES), 1.0))


@given(st.binary(max_size=300))
def test_garbage_is_a_wire_error(body: bytes) -> None:
    """unpack raises WireError and nothing else."""
    with contextlib.suppress(wire.WireError):
        wire.unpack(body)
