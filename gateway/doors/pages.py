"""The web pages: `/`, `/voice-realtime`, `/static/websocket_audio.html`, and what they are made of under `/static/`.

They are read once, at start: nothing that a path says ever reaches the file system. A browser asks each time whether a file
is still the one it has (their names do not change), and mostly hears 304.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from aiohttp import ETag, web

ROOT = Path(__file__).parents[1] / "pages"

MIME_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""What is served, and as what; files of other kinds are not."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A file, ready to be served."""

    body: bytes
    content_type: str
    etag: str


def routes() -> list[web.RouteDef]:
    return [
        web.get("/", _index),
        web.get("/voice-realtime", _voice),
        web.get("/static/{name:.+}", _static),
    ]


@cache
def pages() -> Mapping[str, Page]:
    """Every file of the pages, by its path below their folder."""
    files = (path for path in sorted(ROOT.rglob("*")) if path.suffix in MIME_TYPES)
    return MappingProxyType({path.relative_to(ROOT).as_posix(): _page(path) for path in files})


def _page(path: Path) -> Page:
    body = path.read_bytes()
    return Page(body, MIME_TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:32])


async def _index(request: web.Request) -> web.Response:
    return answer(request, "index.html")


async def _voice(request: web.Request) -> web.Response:
    return answer(request, "voice-realtime.html")


async def _static(request: web.Request) -> web.Response:
    return answer(request, request.match_info["name"])


def answer(request: web.Request, name: str) -> web.Response:
    """The file of this name below the pages' folder. Raises HTTPNotFound."""
    page = pages().get(name)
    if page is None:
        raise web.HTTPNotFound(text="There is no such page.")
    asked = request.if_none_match or ()
    if any(etag.value in (page.etag, "*") for etag in asked):
        response = web.Response(status=304, headers=HEADERS)
    else:
        response = web.Response(body=page.body, content_type=page.content_type, charset="utf-8", headers=HEADERS)
    response.etag = ETag(page.etag)
    return response
