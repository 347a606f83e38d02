"""The web pages, as a browser gets them."""

from __future__ import annotations

import re

import aiohttp
import pytest
import yarl

from gateway.doors import pages
from tests.contract.doors.stage import Stage

ADDRESSES = ["/", "/voice-realtime", *(f"/static/{name}" for name in pages.pages())]
REFERENCE = re.compile(r"""(?:href|src)="([^"#:]+)"|(?:from|import) "(\./[^"]+|\.\./[^"]+)"|new URL\("(worklets/[^"]+)""")
STOPPED = re.compile(r"""<script(?![^>]*src)|<style|\sstyle="|\son\w+="|["'(]https?://(?!www\.w3\.org/)""")
"""What the policy would not let work."""


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_page_comes_with_its_type_and_a_strict_policy(stage: Stage, address: str) -> None:
    """And is asked for again only when it has changed."""
    async with stage.http.get(stage.url + address) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
        assert response.content_type == kinds[address.rpartition(".")[2] if "." in address else "html"]
        assert response.charset == "utf-8"
        etag = response.headers["ETag"]
        assert await response.read()
    async with stage.http.get(stage.url + address, headers={"If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")
        assert response.headers["ETag"] == etag
    async with stage.http.get(stage.url + address, headers={"If-None-Match": '"other"'}) as response:
        assert response.status == 200


def test_the_pages_are_there() -> None:
    assert {"index.html", "voice-realtime.html", "websocket_audio.html", "style.css", "js/voice.js"} <= set(pages.pages())


@pytest.mark.parametrize("address", ["/", "/voice-realtime", "/static/websocket_audio.html"])
async def test_all_that_a_page_needs_is_here(stage: Stage, address: str) -> None:
    """Nothing is missing, nothing comes from elsewhere, and nothing stands in a page that the policy would stop."""
    base = yarl.URL(stage.url)
    waiting, seen = [base.join(yarl.URL(address))], set()
    while waiting:
        url = waiting.pop()
        if url in seen:
            continue
        seen.add(url)
        async with stage.http.get(url) as response:
            assert response.status == 200, url
            text = await response.text()
        if url.path.startswith(("/health", "/livez", "/readyz", "/metrics")):
            continue
        assert not re.findall(r"""<script(?![^>]*src)|<style|\sstyle="|\son\w+="|["'(]https?://(?!www\.w3\.org/)""", text), (
            url
        )
        waiting += [url.join(yarl.URL("".join(groups))) for groups in REFERENCE.findall(text)]
    assert len(seen) > 3
    assert {url.origin() for url in seen} == {base.origin()}


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/nothing.js",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/js/../../app.py",
        "/static//etc/passwd",
        "/static/js",
        "/static/style.css%00.html",
        "/static/..\\app.py",
    ],
)
async def test_no_path_leads_anywhere_else(stage: Stage, path: str) -> None:
    async with stage.http.get(yarl.URL(stage.url + path, encoded=True)) as response:
        assert response.status == 404


async def test_pages_are_read_only(stage: Stage) -> None:
    async with aiohttp.request("POST", f"{stage.url}/voice-realtime") as response:
        assert response.status == 405
    async with stage.http.head(f"{stage.url}/voice-realtime") as response:
        assert response.status == 200
