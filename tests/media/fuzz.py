"""`python -m tests.media.fuzz`: damaged recordings to decoder children, for FUZZ_SECONDS (600), and a count of who died.

Every try has a number, and with it all of its luck: `FUZZ_SEED` (0) and that number make the same bytes again. What a child
dies of is kept in `.fuzz/`. Ends with 1 when a child died or hung, and with a traceback when the worker's side did.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

from tests.media import hostile
from transcoder.errors import DecoderFailed, MediaError
from transcoder.sandbox import DecoderPool
from transcoder.stream_pool import StreamPool

KEPT = Path(".fuzz")
MAX_SECONDS = 120.0
REPORT_EVERY_S = 30.0


def mutated(seed: int, number: int) -> bytes:
    """A good file after some of what may befall it."""
    chance = random.Random(f"{seed} {number}")
    names = sorted(hostile.good())
    data = bytearray(hostile.good()[chance.choice(names)])
    for _ in range(chance.choice([1, 1, 2, 3, 8])):
        if not data:
            break
        at = chance.randrange(min(len(data), chance.choice([64, 600, len(data)])))
        size = min(chance.choice([1, 2, 4, 8, 64, 1000]), len(data) - at)
        match chance.randrange(8):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at : at + size] = chance.randbytes(size)
            case 2:
                data[at : at + size] = bytes([chance.choice([0, 0x7F, 0x80, 0xFF])]) * size
            case 3:
                del data[at : at + size]
            case 4:
                data[at:at] = data[at : at + size] * chance.choice([1, 2, 50])
            case 5:
                del data[at:]
            case 6:  # a piece of another kind
                other = hostile.good()[chance.choice(names)]
                start = chance.randrange(len(other))
                data[at : at + size] = other[start : start + size]
            case 7:  # a length, a count or a rate that lies
                value = chance.choice([0, 1, 2, 255, 65_535, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
                data[at : at + 4] = value.to_bytes(4, chance.choice(["big", "little"]))
    return bytes(data)


async def fuzz(seconds: float, seed: int, first: int = 0) -> int:
    """How many children died."""
    found: Counter[str] = Counter()
    number, told_at, end = first, time.monotonic(), time.monotonic() + seconds
    async with DecoderPool(2) as files, StreamPool() as streams:
        while time.monotonic() < end:
            batch = range(number, number + 12)
            found.update(await asyncio.gather(*(_try(each, mutated(seed, each), files, streams) for each in batch)))
            number += len(batch)
            if time.monotonic() - told_at >= REPORT_EVERY_S:
                told_at = time.monotonic()
                print(f"{number} tries: {_in_words(found)}", flush=True)
        died = files.replaced + streams.replaced
        print(f"seed {seed}, tries {first} to {number - 1}: {_in_words(found)}; {died} children died or hung")
    return died


async def _try(number: int, data: bytes, files: DecoderPool, streams: StreamPool) -> str:
    """Every third as a stream."""
    try:
        if number % 3:
            await files.decode_file(data, max_seconds=MAX_SECONDS)
        else:
            await _stream(number, data, streams)
    except DecoderFailed as error:
        print(f"try {number}: {error} (kept as {_keep(number, data)})", flush=True)
        return error.code
    except MediaError as error:
        return error.code
    return "audio"


def _keep(number: int, data: bytes) -> Path:
    KEPT.mkdir(exist_ok=True)
    path = KEPT / f"{number}"
    path.write_bytes(data)
    return path


async def _stream(number: int, data: bytes, streams: StreamPool) -> None:
    chance = random.Random(number)
    stream = streams.open("stream")
    at = 0
    while at < len(data):
        size = chance.choice([1, 50, 900, 5_000, 50_000])
        await stream.feed(data[at : at + size], max_seconds=MAX_SECONDS, lost=chance.random() < 0.02)
        at += size
    await stream.close(max_seconds=MAX_SECONDS)


def _in_words(found: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in found.most_common())


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    died = asyncio.run(fuzz(float(os.environ.get("FUZZ_SECONDS", "600")), int(os.environ.get("FUZZ_SEED", "0"))))
    sys.exit(died > 0)
