"""`parley tail`: what happens in a session, as it happens. Never its sound; words only when they are asked for."""

from __future__ import annotations

import sys
from datetime import datetime

import msgspec

from cli.operate.api import operator, session_of
from cli.operate.following import following
from cli.operate.narration import Narrator


async def run(session: str, url: str | None, *, words: bool, as_json: bool) -> int:
    """The command, until the session is over. Raises OperateError, SettingsError."""
    async with operator(url) as asking:
        narrator = Narrator()
        async for entry in following(asking, await session_of(asking, session), _note, words=words):
            if as_json:
                _say(msgspec.json.encode(entry).decode())
            else:
                for line in narrator.told(entry):
                    _say(_at(line))
        for line in narrator.rest():
            _say(_at(line))
    return 0


def _at(line: str) -> str:
    return f"{datetime.now().astimezone():%H:%M:%S} {line}"


def _note(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
