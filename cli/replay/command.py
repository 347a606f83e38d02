"""The command around it: read, send, compare, print."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from cli.replay.call import Call, Said, read_call
from cli.replay.compare import Comparison, compare
from cli.replay.doors import open_door

QUIET_S = 3.0
"""Nothing has come for so long: nothing more comes."""


async def replay(call: Call, door: str, url: str, *, speed: float = 1.0, token: str | None = None) -> Comparison:
    """Raises ReplayError."""
    said: Said
    async with open_door(door, url, token) as line:
        await line.say(call.user, speed)
        await line.finish(QUIET_S)
        said = line.said
    return compare(call, said)


async def run(audio: Path, log: Path | None, door: str, url: str, speed: float, as_json: bool, token: str | None) -> int:
    """The exit code."""
    found = await replay(read_call(audio, log), door, url, speed=speed, token=token)
    if as_json:
        print(as_object(found).decode())
    else:
        Console(highlight=False).print(table(found))
        print(summary(found))
    return 0 if found.good else 1


def as_object(found: Comparison) -> bytes:
    return msgspec.json.encode(
        {
            "user_seconds": round(found.user_s, 3),
            "turns_then": len(found.then.answers),
            "turns_now": len(found.now.answers),
            "user_words_alike": found.user_words,
            "turns": [asdict(turn) for turn in found.turns],
            "words_then": {"user": found.then.user_words, "model": found.then.model_words},
            "words_now": {"user": found.now.user_words, "model": found.now.model_words},
        }
    )


def table(found: Comparison) -> Table:
    table = Table("answer", "then", "now", "sound alike", "words alike")
    for number, turn in enumerate(found.turns, 1):
        times = (f"{seconds:.2f} s" if seconds is not None else "none" for seconds in (turn.then_s, turn.now_s))
        table.add_row(str(number), *times, _share(turn.alike), _share(turn.words))
    return table


def summary(found: Comparison) -> str:
    then, now = len(found.then.answers), len(found.now.answers)
    understood = "" if found.user_words is None else f" What was understood is {_share(found.user_words)} the same."
    return f"{found.user_s:.1f} s of the user; {then} answers then, {now} now.{understood}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"
