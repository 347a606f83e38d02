"""`/admin` in a real Chromium: an operator sees who talks, listens, ends a session and drains a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from runtime.embedded import EmbeddedServer
from simulator.answers import words
from simulator.options import Options
from tests.browser.stage import Visit, chromium, visit
from tests.contract.doors.api_stage import Parley, audio, parley
from tests.contract.doors.openai_stage import Talker
from tests.contract.doors.test_admin import ADMIN, LISTEN, RIGHTS
from tests.contract.doors.test_api import closes, speaks

pytestmark = pytest.mark.usefixtures("redis")

SAYS = Options(speed=0, transcription_delay_s=0, answer=words("Good evening."))


@asynccontextmanager
async def operating(redis: EmbeddedServer, path: str) -> AsyncIterator[tuple[Parley, Visit]]:
    """The page, open, before anybody has signed in."""
    async with (
        parley(redis, SAYS, **RIGHTS) as whole,
        chromium(path) as browser,
        visit(browser, f"{whole.urls[0]}/admin") as page,
    ):
        yield whole, page


async def sign_in(visit: Visit, key: str = ADMIN) -> None:
    await visit.page.fill("#key", key)
    await visit.page.click("#key-form button")


async def press(visit: Visit, name: str) -> None:
    await visit.page.get_by_role("button", name=name).first.click()


async def turn(client: Talker) -> None:
    await client.say("input_audio_buffer.append", audio=audio(600))
    await client.say("input_audio_buffer.commit")
    await client.say("response.create")
    await client.until("response.done")


async def test_an_operator_looks_on_and_acts(redis_server: EmbeddedServer, chromium_path: str) -> None:
    """A wrong key is told; the right one stays out of the address; to listen takes another one."""
    async with operating(redis_server, chromium_path) as (whole, visit), whole.talker() as client:
        page, sid = visit.page, await speaks(client)
        await sign_in(visit, "no-such-key")
        await visit.until("() => document.querySelector('#notices').textContent.includes('PARLEY_ADMIN_KEYS')")
        assert await page.is_hidden("#main")
        await sign_in(visit)
        await visit.until("() => document.querySelector('#sessions td .mark[data-state=live]') !== null")
        assert ADMIN not in page.url
        for word in ("openai", "ms"):  # how long an answer took is noted behind it
            await visit.until("(word) => document.querySelector('#sessions tr').innerText.includes(word)", word)
        assert await page.inner_text("#count") == "1"

        await press(visit, "Watch")
        await turn(client)
        await visit.until("() => document.querySelector('#log').textContent.includes('response.done')")
        assert "evening" not in await page.inner_text("#log")

        await page.fill("#listen-key", ADMIN)  # to operate is not to listen
        await page.click("#listen-form button")
        await visit.until("() => document.querySelector('#notices').textContent.includes('PARLEY_LISTEN_KEYS')")
        await page.fill("#listen-key", LISTEN)
        await page.click("#listen-form button")
        await visit.until("() => !document.querySelector('#ear').hidden")
        await turn(client)
        await visit.until("() => document.querySelector('#log').textContent.includes('evening')")
        await visit.until("() => window.parleyAdmin.played() >= 12000")
        await visit.shot("admin")

        await press(visit, "End the session")
        await page.click("#ask-yes")
        assert await closes(client) == 1000
        await visit.until("(id) => !document.querySelector(`#sessions tr[data-key='${id}']`)", sid)
        await visit.until("() => document.querySelector('#log').textContent.includes('ended_by_operator')")
        assert await page.is_visible("#empty")


async def test_a_gateway_is_drained(redis_server: EmbeddedServer, chromium_path: str) -> None:
    async with operating(redis_server, chromium_path) as (whole, visit), whole.talker() as client:
        await client.hear()
        await sign_in(visit)
        await press(visit, "Send the clients of")
        assert "Without another gateway" in await visit.page.inner_text("#ask-text")
        await visit.page.click("#ask-yes")
        assert await closes(client) == 1012
        await visit.until("() => document.querySelector('#gateways .mark[data-state=draining]') !== null")
        await press(visit, "Let")
        await visit.until("() => document.querySelector('#gateways .mark[data-state=taking]') !== null")
