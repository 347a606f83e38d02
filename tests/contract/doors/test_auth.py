"""Who may come in: every door, every way to be refused, and what is told.

A door is a row of WAYS: its simplest request (for HTTP, with the status that somebody who is admitted gets). All the rest is
tried on each of them; rows of WebSockets are counted by test_limits.py too.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
import pytest
from openai import AsyncOpenAI
from redis.asyncio import Redis
from websockets.exceptions import ConnectionClosedError

from cli.token import mint
from gateway.app import serving
from gateway.settings import GatewaySettings
from gateway.tickets import PREFIX, TICKET_S
from runtime.embedded import EmbeddedServer
from streams import keys, turns
from streams.sessions import Sessions
from streams.writer import Writer
from tests.contract.doors.openai_stage import Talker
from tests.contract.doors.stage import Stage

LIMIT_S = 20.0
OLD, NEW, OTHERS = ("old-" * 8, "new-" * 8, "not-" * 8)
PAGE = "https://app.example.com"
DAY_S = 86_400


@dataclass(frozen=True)
class Way:
    """The simplest request at a door; without a token it is admitted if nobody is asked."""

    door: str
    method: str
    """an HTTP method, or WS"""
    path: str
    open_in_contract: bool
    """its clients in the field carry no token"""
    close: tuple[int, str] | None = None
    """how its protocol refuses a wrong key, if it has a way of its own"""
    body: bytes | None = None
    admitted: int = 200
    """HTTP's status when it is; that something else is missing is an answer to somebody who is"""

    @property
    def is_socket(self) -> bool:
        return self.method == "WS"


WAYS = [
    Way("mobile", "WS", "/ws-mobile/ann", open_in_contract=True),
    Way("web", "WS", "/ws/ann", open_in_contract=True),
    Way("openai", "WS", "/v1/realtime?model=any", open_in_contract=False, close=(3000, "invalid_request_error")),
    Way("openai", "GET", "/v1/realtime/sse?model=any", open_in_contract=False),
    Way("openai", "POST", "/v1/realtime/events?session=none", open_in_contract=False, body=b"[]", admitted=404),
    Way("openai", "POST", "/v1/realtime/audio?session=none", open_in_contract=False, body=b"", admitted=404),
    Way("openai", "POST", "/v1/realtime/end?session=none", open_in_contract=False),
    Way("openai", "POST", "/v1/realtime/client_secrets", open_in_contract=False, body=b"{}"),
    Way("recorder", "WS", "/ws", open_in_contract=True),
    Way("watch", "WS", "/realtime", open_in_contract=False),
    Way("watch", "GET", "/realtime/stream?conversationId=c1", open_in_contract=False),
    Way("watch", "POST", "/realtime/upload?conversationId=none", open_in_contract=False, body=b"", admitted=400),
    Way("watch", "POST", "/realtime/end?conversationId=c1", open_in_contract=False),
    Way("ios", "POST", "/api/sessions", open_in_contract=True, body=b"{}"),
    Way("ios", "GET", "/api/sessions", open_in_contract=True),
    Way("ios", "POST", "/api/sessions/none/upload_audio", open_in_contract=True, body=b"\0\0", admitted=404),
    Way("ios", "GET", "/api/sessions/none/stream_audio", open_in_contract=True, admitted=404),
    Way("ios", "POST", "/api/sessions/none/stop_stream", open_in_contract=True, body=b"", admitted=404),
    Way("tickets", "POST", "/v1/tickets", open_in_contract=False),
]


@pytest.fixture(autouse=True)
def _nobody_waits_for_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is let in at `/realtime/upload` is told that it listens nowhere: at once, for none is to come."""
    monkeypatch.setattr("gateway.doors.watch.WAIT_FOR_STREAM_S", 0.0)


def named(row: Any) -> str:
    return f"{row.door} {row.method}" if isinstance(row, Way) else str(row)


every_way = pytest.mark.parametrize("way", WAYS, ids=named)


@dataclass(frozen=True)
class Shown:
    """What a request shows of itself, and where."""

    token: str | None = None
    where: str = "header"
    origin: str | None = None

    def headers(self) -> dict[str, str]:
        found = {"Origin": self.origin} if self.origin else {}
        return found | (
            {"Authorization": f"Bearer {self.token}"} if self.token is not None and self.where == "header" else {}
        )

    def url(self, way: Way) -> str:
        if self.token is None or self.where not in ("token", "ticket"):
            return way.path
        return f"{way.path}{'&' if '?' in way.path else '?'}{self.where}={self.token}"

    def protocols(self) -> list[str]:
        return ["realtime", f"openai-insecure-api-key.{self.token}"] if self.where == "protocol" else []


@dataclass(frozen=True)
class Outcome:
    """What became of a request."""

    admitted: bool
    status: int
    """HTTP's, or the close code"""
    sentence: str = ""
    """what was told"""
    headers: Any = None


async def attempt(stage: Stage, way: Way, shown: Shown) -> Outcome:
    """Make the request, and see."""
    if way.is_socket:
        return await attempt_socket(stage, way, shown)
    url, headers = stage.url + shown.url(way), shown.headers()
    async with stage.http.request(way.method, url, headers=headers, data=way.body) as response:
        if response.status == way.admitted:
            return Outcome(True, response.status)  # what it answers may have no end
        return Outcome(False, response.status, (await response.json())["error"], response.headers)


async def attempt_socket(stage: Stage, way: Way, shown: Shown) -> Outcome:
    try:
        ws = await stage.http.ws_connect(stage.url + shown.url(way), headers=shown.headers(), protocols=shown.protocols())
    except aiohttp.WSServerHandshakeError as error:
        return Outcome(False, error.status, headers=error.headers)
    async with ws:
        assert ws.protocol == ("realtime" if shown.protocols() else None)
        await ws.send_str('{"type":"ping"}')
        sentence = ""
        while True:
            message = await ws.receive(LIMIT_S)
            if message.type is aiohttp.WSMsgType.CLOSE:
                return Outcome(False, message.data, sentence or message.extra or "", message.extra)
            if way.close is None or (event := json.loads(message.data))["type"] != "error":
                return Outcome(True, 101)
            sentence = event["error"]["message"]


def refused(way: Way, outcome: Outcome, sentence: str) -> None:
    """As the door tells it."""
    assert not outcome.admitted, outcome
    assert outcome.sentence == sentence
    if not way.is_socket:
        assert outcome.status == 401
        assert outcome.headers["WWW-Authenticate"] == "Bearer"
    elif way.close is None:
        assert outcome.status == 1008
    else:
        code, reason = way.close
        own = reason if sentence == "Authentication required" else f"{reason}.invalid_api_key"
        assert (outcome.status, outcome.headers) == (code, own)


@asynccontextmanager
async def gateway(redis_server: EmbeddedServer, redis: Redis, **settings: str) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        made = GatewaySettings(PORT=0, REDIS_URL=redis_server.url, **settings)  # type: ignore[arg-type]
        url = await stack.enter_async_context(serving(made))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Stage(url, http, redis, await stack.enter_async_context(Writer(redis)))


@pytest.fixture
async def strict(redis_server: EmbeddedServer, redis: Redis) -> AsyncIterator[Stage]:
    """Everybody needs a token, and two secrets are valid."""
    async with gateway(
        redis_server, redis, PARLEY_AUTH="required", JWT_SECRET=f"{NEW} {OLD}", PARLEY_ORIGINS=f"http://other.example,{PAGE}"
    ) as stage:
        yield stage


def token(user: str = "ann", secret: str = NEW, lasts_s: float = DAY_S) -> str:
    return mint(secret, user, "watch-1", time.time(), lasts_s)


def forged(**claims: object) -> str:
    """Signed by the right one; None leaves a claim out."""
    whole = {"deviceId": "d", "userId": "ann", "type": "device", "iat": time.time(), "exp": time.time() + DAY_S, **claims}
    return jwt.encode({key: value for key, value in whole.items() if value is not None}, NEW, algorithm="HS256")


def unsigned() -> str:
    claims = {"deviceId": "d", "userId": "ann", "type": "device", "exp": time.time() + DAY_S}
    return jwt.encode(claims, "", algorithm="none")


async def issue(stage: Stage, shown: Shown | None = None) -> str:
    """A ticket."""
    headers = (shown or Shown(token())).headers()
    async with stage.http.post(f"{stage.url}/v1/tickets", headers=headers) as response:
        body = await response.json()
        assert response.status == 200, body
        assert response.headers["Cache-Control"] == "no-store"
        assert body["expires_in"] == TICKET_S
        return str(body["ticket"])


async def replayed(stage: Stage) -> str:
    """A ticket that has been used."""
    ticket = await issue(stage)
    assert (await attempt(stage, WAYS[0], Shown(ticket, "ticket"))).admitted
    return ticket


async def run_out(stage: Stage) -> str:
    ticket = await issue(stage)
    (key,) = await stage.redis.keys("parley:ticket:*")
    assert 0 < await stage.redis.pttl(key) <= TICKET_S * 1000
    await stage.redis.pexpire(key, 0)
    return ticket


async def of_another_page(stage: Stage) -> str:
    return await issue(stage, Shown(token(), origin=PAGE))


BAD: dict[str, Any] = {
    "nonsense": lambda: "nonsense",
    "of another secret": lambda: token(secret=OTHERS),
    "expired": lambda: token(lasts_s=-3600),
    "not valid yet": lambda: forged(iat=time.time() + 3600),
    "without an end": lambda: forged(exp=None),
    "unsigned": unsigned,
    "of no user": lambda: forged(userId=None),
    "of a number": lambda: forged(userId=7),
    "of a stranger": lambda: forged(userId="~ann"),
    "of a device that is a list": lambda: forged(deviceId=["d"]),
    "of a long name": lambda: forged(userId="x" * 257),
    "a ticket that nobody made": lambda: PREFIX + "A" * 43,
    "a used ticket": replayed,
    "a ticket that has run out": run_out,
    "a ticket of another page": of_another_page,
}
"""All of them are an invalid token."""


async def made(stage: Stage, bad: Any) -> str:
    shown = bad(stage) if asyncio.iscoroutinefunction(bad) else bad()
    return str(await shown if asyncio.iscoroutine(shown) else shown)


@every_way
@pytest.mark.parametrize("bad", BAD)
async def test_an_invalid_token(strict: Stage, way: Way, bad: str) -> None:
    """In the header, in the address; a WebSocket also among its protocols."""
    for where in ("header", "token", *(("protocol",) if way.is_socket else ())):
        shown = Shown(await made(strict, BAD[bad]), where)
        refused(way, await attempt(strict, way, shown), "Invalid token")


@every_way
async def test_a_token_for_something_else(strict: Stage, way: Way) -> None:
    for wrong in (forged(type="session"), forged(type=None)):
        refused(way, await attempt(strict, way, Shown(wrong)), "Invalid token type")


@every_way
async def test_no_token(strict: Stage, way: Way) -> None:
    for nothing in (Shown(), Shown("", "header"), Shown("", "token")):
        refused(way, await attempt(strict, way, nothing), "Authentication required")


@every_way
async def test_a_good_token(strict: Stage, way: Way) -> None:
    """Wherever it is, and of either secret."""
    for where in ("header", "token", *(("protocol",) if way.is_socket else ())):
        for secret in (OLD, NEW):
            assert (await attempt(strict, way, Shown(token(secret=secret), where))).admitted


@pytest.mark.parametrize(
    "way", [way for way in WAYS if way.path not in ("/v1/tickets", "/v1/realtime/client_secrets")], ids=named
)
async def test_a_ticket(strict: Stage, way: Way) -> None:
    """Once; and a page's only from that page, a server's from any."""
    for where in ("ticket", "header", *(("protocol",) if way.is_socket else ())):
        ticket = await issue(strict, Shown(token(), origin=PAGE))
        assert (await attempt(strict, way, Shown(ticket, where, origin=PAGE))).admitted
        refused(way, await attempt(strict, way, Shown(ticket, where, origin=PAGE)), "Invalid token")
        assert (await attempt(strict, way, Shown(await issue(strict), where, origin=PAGE))).admitted
    assert await strict.redis.keys("parley:ticket:*") == []


async def test_there_is_no_ticket_for_a_ticket(strict: Stage) -> None:
    """It would never end."""
    refused(WAYS[-1], await attempt(strict, WAYS[-1], Shown(await issue(strict), "ticket")), "Invalid token")


async def test_redis_does_not_know_the_ticket(strict: Stage) -> None:
    """Only its hash: who reads Redis gets in nowhere."""
    ticket = await issue(strict)
    (key,) = await strict.redis.keys("parley:ticket:*")
    assert ticket not in str(key)
    assert ticket not in str(await strict.redis.get(key))


@every_way
async def test_contract_asks_where_the_clients_have_tokens(redis_server: EmbeddedServer, redis: Redis, way: Way) -> None:
    """And a token that is sent must be good at every door. It is the default when there is a secret."""
    async with gateway(redis_server, redis, JWT_SECRET=NEW) as stage:
        without = await attempt(stage, way, Shown())
        if way.open_in_contract:
            assert without.admitted
        else:
            refused(way, without, "Authentication required")
        refused(way, await attempt(stage, way, Shown(token(secret=OLD))), "Invalid token")
        assert (await attempt(stage, way, Shown(token()))).admitted


@every_way
@pytest.mark.parametrize("settings", [{}, {"PARLEY_AUTH": "off", "JWT_SECRET": NEW}])
async def test_off_asks_nobody(redis_server: EmbeddedServer, redis: Redis, way: Way, settings: dict[str, str]) -> None:
    async with gateway(redis_server, redis, **settings) as stage:
        for shown in (Shown(), Shown("nonsense"), Shown(token(secret=OLD), "token"), Shown(PREFIX + "x", "ticket")):
            assert (await attempt(stage, way, shown)).admitted


# ---- pages ----------------------------------------------------------------------------------------------------------


@every_way
async def test_pages_of_other_origins(strict: Stage, way: Way) -> None:
    """Refused before anything else, with a good token too; a WebSocket before its handshake."""
    host = strict.url.removeprefix("http://")
    for origin in (
        "https://evil.example",
        f"{PAGE}.evil.example",
        f"{PAGE}:8443",
        "http://app.example.com",
        "null",
        f"https://x@{host}",
    ):
        outcome = await attempt(strict, way, Shown(token(), origin=origin))
        assert outcome.status == 403, origin
        assert "Access-Control-Allow-Origin" not in outcome.headers
        assert outcome.headers["Vary"] == "Origin"


@every_way
async def test_pages_of_ours(strict: Stage, way: Way) -> None:
    """The server's own, and those on the list."""
    for origin in (strict.url, PAGE, "http://other.example", "HTTPS://app.example.com:443"):
        assert (await attempt(strict, way, Shown(token(), origin=origin))).admitted, origin


async def test_forwarded_hosts_are_believed_from_trusted_proxies_only(redis_server: EmbeddedServer, redis: Redis) -> None:
    told = {"Origin": "https://voice.example", "X-Forwarded-Host": "voice.example", "X-Forwarded-Proto": "https"}
    for proxies, status in (("", 403), ("10.0.0.0/8", 403), ("10.0.0.0/8, 127.0.0.1", 200)):
        async with (
            gateway(redis_server, redis, PARLEY_TRUSTED_PROXIES=proxies) as stage,
            stage.http.get(f"{stage.url}/livez", headers=told) as response,
        ):
            assert response.status == status
            if status == 403:
                assert list(await response.json()) == ["error"]


async def test_what_a_browser_asks_before(strict: Stage) -> None:
    """A preflight, for any address; what a page may read is told on every answer, also on refusals."""
    ask = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with strict.http.options(f"{strict.url}/v1/tickets", headers=ask) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
        assert response.headers["Vary"] == "Origin"
    ask["Origin"] = "https://evil.example"
    async with strict.http.options(f"{strict.url}/v1/tickets", headers=ask) as response:
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers
    for path, status in (("/livez", 200), ("/nowhere", 404)):
        async with strict.http.get(strict.url + path, headers={"Origin": PAGE}) as response:
            assert response.status == status
            assert response.headers["Access-Control-Allow-Origin"] == PAGE
            assert "Access-Control-Allow-Credentials" not in response.headers
    outcome = await attempt(strict, WAYS[-1], Shown(origin=PAGE))
    assert (outcome.status, outcome.headers["Access-Control-Allow-Origin"]) == (401, PAGE)


# ---- another user's session -----------------------------------------------------------------------------------------


async def test_another_users_session_is_not_found(strict: Stage) -> None:
    """At the openai door: as if it was not there, and its owner notices nothing."""

    def door(user: str, query: str = "") -> Any:
        return strict.http.ws_connect(f"{strict.url}/v1/realtime?model=any{query}", headers=Shown(token(user)).headers())

    async with door("ann") as ws:
        session = (await Talker(ws).hear())["session"]["id"]
        for user, query in (("bob", ""), ("bob", "&parley=1")):
            async with door(user, f"{query}&session={session}") as thief:
                assert (await Talker(thief).hear())["error"]["code"] == "session_not_found"
                assert await Talker(thief).hear_close() == 4404
        async with door("ann", f"&session={session}") as again:
            assert (await Talker(again).hear())["session"]["id"] == session
            assert await Talker(ws).hear_close() == 4409  # only its owner takes it from the connection before


async def test_the_same_name_of_another_user_is_another_session(strict: Stage) -> None:
    """At the mobile door the address is a conversation of whoever the token names."""
    async with (
        strict.http.ws_connect(f"{strict.url}/ws-mobile/home", headers=Shown(token("ann")).headers()) as ann,
        strict.http.ws_connect(f"{strict.url}/ws-mobile/home", headers=Shown(token("bob")).headers()) as bob,
    ):
        sessions = [await strict.session(user, "home") for user in ("ann", "bob")]
        assert sessions[0].sid != sessions[1].sid
        opened = [await strict.opened(session) for session in sessions]
        assert [entry.user for entry in opened if isinstance(entry, turns.Opened)] == ["ann", "bob"]
        async with strict.http.ws_connect(f"{strict.url}/ws-mobile/home", headers=Shown(token("ann")).headers()):
            message = await ann.receive(LIMIT_S)
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4409)  # the newest has it, at once
        await bob.send_str('{"type":"ping"}')
        assert (await bob.receive(LIMIT_S)).data == '{"type":"pong"}'


async def test_nobody_gets_at_a_users_session_by_naming_them(redis_server: EmbeddedServer, redis: Redis) -> None:
    """At a door that lets strangers in, a stranger's `ann` is not the user `ann`."""
    async with gateway(redis_server, redis, JWT_SECRET=NEW) as stage:
        async with stage.http.ws_connect(f"{stage.url}/ws-mobile/ann", headers=Shown(token("ann")).headers()) as ws:
            await ws.send_str('{"type":"audio","audio":"AAAA"}')
            owned = await stage.session("ann", "ann")
            await stage.up(owned, 2)
        await stage.gone(owned.keys.attach)  # it waits for her
        async with stage.http.ws_connect(f"{stage.url}/ws-mobile/ann") as ws:
            await ws.send_str('{"type":"ping"}')
            assert (await ws.receive(LIMIT_S)).data == '{"type":"pong"}'
            assert (await stage.session("~ann", "ann")).sid != owned.sid
        found = await Sessions(redis).find("ann", "ann")
        assert found is not None
        assert found.sid == owned.sid
        assert not await redis.exists(keys.SessionKeys(owned.sid).attach)


async def test_without_redis_a_ticket_cannot_be_judged() -> None:
    """Then it is not refused for good: come back."""
    with EmbeddedServer() as server:
        settings = GatewaySettings(PORT=0, REDIS_URL=server.url, JWT_SECRET=NEW)
        async with serving(settings) as url, aiohttp.ClientSession() as http:
            server.kill()
            async with http.post(f"{url}/v1/tickets", headers=Shown(token()).headers()) as response:
                assert (response.status, response.headers["Retry-After"]) == (503, "1")
            async with http.ws_connect(f"{url}/v1/realtime?ticket={PREFIX}x") as ws:
                assert json.loads((await ws.receive(LIMIT_S)).data)["type"] == "error"
                assert (await ws.receive(LIMIT_S)).data == 1013


# ---- the official SDK -----------------------------------------------------------------------------------------------


async def test_the_official_sdk_has_its_token_for_a_key(strict: Stage) -> None:
    """With only its base URL and its key changed; a ticket does as well, and a wrong key is told as it expects."""
    for key in (token(), await issue(strict)):
        async with (
            AsyncOpenAI(api_key=key, base_url=f"{strict.url}/v1") as client,
            client.realtime.connect(model="any") as connection,
        ):
            assert (await connection.recv()).type == "session.created"
    async with (
        AsyncOpenAI(api_key="sk-wrong", base_url=f"{strict.url}/v1", max_retries=0) as client,
        client.realtime.connect(model="any") as connection,
    ):
        event = await connection.recv()
        assert event.type == "error"
        assert (event.error.type, event.error.code) == ("invalid_request_error", "invalid_api_key")
        with pytest.raises(ConnectionClosedError) as raised:
            await connection.recv()
        assert raised.value.rcvd is not None
        assert (raised.value.rcvd.code, raised.value.rcvd.reason) == (3000, "invalid_request_error.invalid_api_key")


async def test_callers_without_a_token_are_told_of_nobodys_sessions(redis_server: EmbeddedServer, redis: Redis) -> None:
    """An id is all it takes to listen in; where nobody is asked, it is a developer's own machine."""
    for secret, told in ((NEW, 0), (None, 1)):
        async with gateway(redis_server, redis, **({"JWT_SECRET": secret} if secret else {})) as stage:
            async with stage.http.post(f"{stage.url}/api/sessions", json={}) as created:
                sid = (await created.json())["id"]
            async with stage.http.get(f"{stage.url}/api/sessions/{sid}") as own:
                assert own.status == 200
            async with stage.http.get(f"{stage.url}/api/sessions") as listed:
                assert len((await listed.json())["sessions"]) == told
            await redis.flushall()
