"""All callers, by the name of their door."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex

from tests.acceptance.doors.caller import Caller
from tests.acceptance.doors.ios import IosCaller
from tests.acceptance.doors.mobile import MobileCaller
from tests.acceptance.doors.openai import OpenAiCaller, OpenAiHttpCaller
from tests.acceptance.doors.watch import WatchCaller, WatchPhoneCaller

DOORS: dict[str, Callable[[str], Caller]] = {
    "mobile, PCM": lambda url: MobileCaller(url, token_hex(8), m4a=False),
    "mobile, M4A": lambda url: MobileCaller(url, token_hex(8), m4a=True),
    "openai, WebSocket": OpenAiCaller,
    "openai, SSE and POST": OpenAiHttpCaller,
    "watch, SSE and upload": lambda url: WatchCaller(url, token_hex(8)),
    "watch, WebSocket": lambda url: WatchPhoneCaller(url, token_hex(8)),
    "ios, 24 kHz": lambda url: IosCaller(url, 24_000),
    "ios, 16 kHz": lambda url: IosCaller(url, 16_000),
}
PUSH_TO_TALK = {"mobile, PCM", "mobile, M4A"}
"""Doors at which silence need not be sent."""
