"""All clients, by the name of what is promised to them."""

from __future__ import annotations

from cli.load.doors.coded import MobileM4a, Web
from cli.load.doors.door import Door
from cli.load.doors.ios import Ios
from cli.load.doors.ios_narrow import Ios16
from cli.load.doors.mobile import Mobile
from cli.load.doors.openai import OpenAi, OpenAiHttp
from cli.load.doors.packed import MobileAac, WebOpus
from cli.load.doors.watch import Phone, Watch, WatchById

CLASSES: dict[str, type[Door]] = {
    "openai": OpenAi,
    "openai-http": OpenAiHttp,
    "mobile": Mobile,
    "mobile-m4a": MobileM4a,
    "web": Web,
    "mobile-aac": MobileAac,
    "web-opus": WebOpus,
    "phone": Phone,
    "watch": Watch,
    "watch-by-id": WatchById,
    "ios": Ios,
    "ios-16k": Ios16,
}

NAMES = tuple(CLASSES)
