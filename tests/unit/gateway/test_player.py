"""What is under way to a client that plays what it gets."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from gateway.connections import Connection
from gateway.errors import SlowClient
from gateway.flow import IN_FLIGHT_S, Flow
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
    is_unreachable = False

    async def write(self, frame: Frame) -> None:
        self.frames.append(frame.data)


class FarWire(DeadWire):
    """And nothing is acknowledged for a while: the network is away."""

    def __init__(self) -> None:
        super().__init__()
        self._looks = 0

    @property
    def is_unreachable(self) -> bool:  # type: ignore[override]
        self._looks += 1
        return self._looks < 3


async def test_whose_network_is_away_is_not_slow() -> None:
    """It is waited for, until it is back; if it does not read then, it is too slow."""
    loop = asyncio.get_running_loop()
    wire, began = FarWire(), loop.time()
    flow = Flow(wire)
    await wire.write(Frame("audio", bytes(100)))
    flow.wrote(IN_FLIGHT_S + 0.1)
    with pytest.raises(SlowClient):
        await flow.settled()
    assert loop.time() - began > 3 * wire.send_timeout_s


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
