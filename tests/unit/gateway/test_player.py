"""What is under way to a client that plays what it gets."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from gateway.connections import Connection
from gateway.errors import SlowClient
from gateway.flow import IN_FLIGHT_S
from gateway.outbox import Frame
from gateway.pacer import AHEAD_S, Due, Pacer
from gateway.packet_pacer import AAC, OPUS, PacketPacer
from gateway.player import Player
from streams.ids import EntryId

RATE = 24_000

NOBODY = cast(Connection, None)
"""Is told of marks only, and here are none."""


class DeadWire:
    """Nothing of what is written arrives."""

    send_timeout_s = 0.1

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    @property
    def written(self) -> int:
        return sum(map(len, self.frames))

    unacknowledged = written

    async def write(self, frame: Frame) -> None:
        self.frames.append(frame.data)


@pytest.mark.parametrize("kind", ["pcm", "aac", "opus"])
async def test_half_a_second_is_under_way_at_most(kind: str) -> None:
    """However few bytes that is, of silence as of speech; then the client is too slow."""
    wire, now = DeadWire(), asyncio.get_running_loop().time()
    packets = {"aac": AAC, "opus": OPUS[20]}.get(kind)
    pacer = Pacer[EntryId](RATE, now) if packets is None else PacketPacer[EntryId](packets, now)
    samples = 0

    def packed(due: Due[EntryId]) -> bytes:
        nonlocal samples
        samples += due.samples
        return due.audio

    player = Player(wire, pacer, packed)
    for _ in range(4):  # some 170 ms of AAC
        player.feed("a", b"\1" * 100)
    with pytest.raises(SlowClient):
        await player.play(NOBODY)
    assert IN_FLIGHT_S < samples / RATE <= IN_FLIGHT_S + AHEAD_S
