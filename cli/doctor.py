"""`parley doctor`: look at everything that Parley needs, and say what to do about what is missing.

Each check has a time limit and answers with a Finding; none of them changes anything.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli import redis_server
from cli.settings import CommandSettings, http_url
from gateway.addresses import is_loopback
from gateway.policy import Policy
from gateway.settings import GatewaySettings
from realtime_bridge.settings import BridgeSettings
from runtime.embedded import EmbeddedServer, find_server
from runtime.errors import ParleyError, SettingsError
from transcoder.child_process import Child
from transcoder.errors import DecoderFailed
from transcoder.wire import Ready

LIMIT_S = 10.0
"""For each check."""

PACKAGES = (
    "aiohttp",
    "aiohttp_sse",
    "av",
    "msgpack",
    "msgspec",
    "numpy",
    "prometheus_client",
    "jwt",
    "pybase64",
    "pydantic_settings",
    "redis",
    "hiredis",
    "rich",
    "typer",
    "uvloop",
)
DECODERS = ("aac", "opus", "libopus", "alac", "mp3")
ENCODERS = ("aac", "libopus")

State = Literal["ok", "warning", "fatal"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    name: str
    state: State
    found: str
    todo: str = ""
    """What to do about it; empty when all is well."""


async def run(as_json: bool) -> int:
    """The command: check, print; 1 when something is fatal."""
    screen = Console(highlight=False)
    if as_json:
        findings = await examine()
        print(msgspec.json.encode({"ok": not _fatal(findings), "findings": findings}).decode())
    else:
        with Console(stderr=True).status("Looking at this machine"):
            findings = await examine()
        screen.print(table(findings))
    return 1 if _fatal(findings) else 0


async def examine() -> list[Finding]:
    """All checks, at the same time."""
    first = [python(sys.version_info[:3]), packages(), codecs()]
    try:
        settings = CommandSettings.load()
    except ParleyError as error:
        return [*first, Finding("settings", "fatal", str(error), "Correct or unset it.")]
    first.append(callers())
    rest = await asyncio.gather(
        _limited("redis", server(settings)),
        _limited("model", upstream(settings)),
        _limited("gateway", gateway(settings.host, settings.port)),
        _limited("decoder", decoder()),
    )
    return [*first, *rest]


def table(findings: list[Finding]) -> Table:
    """The findings for a person."""
    rows = Table("", "check", "found", "what to do")
    marks = {"ok": "[green]ok[/]", "warning": "[yellow]look[/]", "fatal": "[red]no[/]"}
    for finding in findings:
        rows.add_row(marks[finding.state], finding.name, Text(finding.found), Text(finding.todo))
    return rows


def python(version: tuple[int, ...]) -> Finding:
    """3.11 or newer."""
    found = f"{'.'.join(map(str, version))} ({sys.executable})"
    if version >= (3, 11):
        return Finding("python", "ok", found)
    return Finding("python", "fatal", found, "Install Python 3.11 or newer and make the virtualenv again.")


def packages() -> Finding:
    """Everything we import is there."""
    missing: list[str] = []
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing.append(f"{name} ({error})")
    if missing:
        return Finding("packages", "fatal", f"missing: {', '.join(missing)}", "Run `pip install -r requirements.lock`.")
    return Finding("packages", "ok", f"all {len(PACKAGES)} are there")


def codecs() -> Finding:
    """FFmpeg, as PyAV brings it, can do what phones and browsers record."""
    try:
        import av
    except ImportError as error:
        return Finding("codecs", "fatal", str(error), "Run `pip install av`.")
    missing = [f"decoder {name}" for name in DECODERS if not _has_codec(name, "r")]
    missing += [f"encoder {name}" for name in ENCODERS if not _has_codec(name, "w")]
    if missing:
        return Finding(
            "codecs", "fatal", f"PyAV {av.__version__} lacks {', '.join(missing)}", "Install PyAV from its wheel."
        )
    return Finding("codecs", "ok", f"PyAV {av.__version__}: {', '.join(DECODERS)}")


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    import av
    from av.codec.codec import UnknownCodecError

    try:
        av.Codec(name, mode)
    except UnknownCodecError:
        return False
    return True


def callers() -> Finding:
    """Who may come in at the gateway."""
    try:
        gateway_settings = GatewaySettings.load()
        policy = Policy.of(gateway_settings)
    except SettingsError as error:
        return Finding("callers", "fatal", str(error), "Correct or unset it.")
    match policy.mode:
        case "off" if not is_loopback(gateway_settings.host):
            found = f"everybody who reaches {gateway_settings.host} (PARLEY_AUTH=off)"
            return Finding("callers", "warning", found, "Set JWT_SECRET and unset PARLEY_AUTH, if others can reach it.")
        case "off":
            return Finding("callers", "ok", "everybody on this machine; no tokens are looked at")
        case "contract":
            return Finding("callers", "ok", "who has a token; field clients that carry none at their own doors")
        case "required":
            return Finding("callers", "ok", "who has a token")


async def server(settings: CommandSettings) -> Finding:
    """The server of REDIS_URL, or the one that `parley up` would start, started for a moment."""
    try:
        if settings.own_server:
            binary = find_server()
            async with EmbeddedServer(binary=binary) as own:
                facts = await redis_server.ask(own.url)
            where = f"{binary}, which `parley up` starts"
        else:
            facts = await redis_server.ask(settings.redis_url)
            where = f"{facts.name} {facts.version} at {redis_server.without_password(settings.redis_url)}"
    except ParleyError as error:
        return Finding("redis", "fatal", "no server", str(error))
    if not facts.new_enough:
        return Finding("redis", "fatal", where, redis_server.version_advice(facts))
    if not facts.keeps_what_it_took:
        return Finding("redis", "fatal", where, redis_server.policy_advice(facts.policy))
    if not facts.policy:
        return Finding("redis", "warning", where, redis_server.UNTOLD_POLICY)
    return Finding("redis", "ok", f"{where}; noeviction")


async def upstream(settings: CommandSettings) -> Finding:
    """Whether the model's server takes our key."""
    if settings.openai_api_key is None:
        if settings.openai_base_url is None:
            return Finding("model", "ok", "no OPENAI_API_KEY: `parley up` talks to the simulator")
        found = f"{settings.openai_base_url}, but no key"
        return Finding("model", "fatal", found, "Set OPENAI_API_KEY, to any value if that server wants none.")
    try:
        bridge = BridgeSettings.load()
    except SettingsError as error:
        return Finding("model", "fatal", str(error), "Correct or unset it.")
    base_url = bridge.openai_base_url
    query = urlencode({"model": bridge.openai_realtime_model})
    address = f"{base_url.rstrip('/').replace('http', 'ws', 1)}/realtime?{query}"
    headers = {"Authorization": f"Bearer {settings.openai_api_key.get_secret_value()}"}
    try:
        async with aiohttp.ClientSession() as session, session.ws_connect(address, headers=headers) as socket:
            return await _first_event(base_url, socket)
    except aiohttp.WSServerHandshakeError as error:
        if error.status in (401, 403):
            return Finding("model", "fatal", f"{base_url} refuses the key (HTTP {error.status})", "Correct OPENAI_API_KEY.")
        return Finding("model", "fatal", f"{base_url} answers HTTP {error.status}", "Correct OPENAI_BASE_URL.")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        host = urlsplit(base_url).netloc or base_url
        return Finding("model", "fatal", f"{host} cannot be reached: {error}", "Correct OPENAI_BASE_URL, or the network.")


async def _first_event(base_url: str, socket: aiohttp.ClientWebSocketResponse) -> Finding:
    """A refused key is told after the upgrade, by an `error` event and close code 3000."""
    message = await socket.receive()
    event: Any = None
    if message.type is aiohttp.WSMsgType.TEXT:
        try:
            event = msgspec.json.decode(message.data)
        except msgspec.DecodeError:
            event = None
    match event:
        case {"type": "error", "error": {"message": str(sentence)}}:
            await socket.receive()
            if socket.close_code == 3000:
                return Finding("model", "fatal", f"{base_url} refuses the key: {sentence}", "Correct OPENAI_API_KEY.")
            return Finding("model", "fatal", f"{base_url} refuses: {sentence}", "Correct the model's settings.")
        case {"type": str(kind)}:
            return Finding("model", "ok", f"{base_url} takes the key ({kind})")
    if socket.close_code == 3000:
        return Finding("model", "fatal", f"{base_url} refuses the key", "Correct OPENAI_API_KEY.")
    return Finding("model", "fatal", f"{base_url} does not speak the Realtime protocol", "Correct OPENAI_BASE_URL.")


async def gateway(host: str, port: int) -> Finding:
    """The port of the gateway: free, Parley's already, or somebody else's."""
    if not port:
        return Finding("gateway", "ok", "any free port (PORT=0)")
    url = http_url(host, port)
    try:
        listener = await asyncio.start_server(lambda _r, writer: writer.close(), host, port)
    except OSError as error:
        if await _is_parley(url):
            return Finding("gateway", "ok", f"Parley answers at {url} already")
        found = f"{host}:{port} cannot be used: {error.strerror}"
        return Finding("gateway", "fatal", found, "Stop what listens there, or set PORT (and HOST) to something else.")
    listener.close()
    await listener.wait_closed()
    return Finding("gateway", "ok", f"{host}:{port} is free")


async def decoder() -> Finding:
    """A decoder child starts, and which of the kernel's walls stand around it."""
    try:
        child = await Child.start(LIMIT_S)
    except DecoderFailed as error:
        return Finding("decoder", "fatal", str(error), "Run `pip install -r requirements.lock`.")
    await child.kill()
    return _walls(child.walls)


def _walls(walls: Ready) -> Finding:
    found = f"behind {walls.standing or 'limits alone'}"
    if not walls.missing:
        return Finding("decoder", "ok", found)
    todo = "It works; with them, what strangers send is held better. See docs/operations.md, Decoder children."
    return Finding("decoder", "warning", f"{found}; without {walls.missing}", todo)


async def _is_parley(url: str) -> bool:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session,
            session.get(f"{url}/health") as response,
        ):
            health = msgspec.json.decode(await response.read())
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
        return False
    return isinstance(health, dict) and "parley" in str(health.get("service", "")).lower()


async def _limited(name: str, check: Awaitable[Finding], limit_s: float = LIMIT_S) -> Finding:
    try:
        async with asyncio.timeout(limit_s):
            return await check
    except TimeoutError:
        return Finding(name, "fatal", f"no answer within {limit_s:g} s", "See whether the network or a proxy swallows it.")


def _fatal(findings: list[Finding]) -> bool:
    return any(finding.state == "fatal" for finding in findings)
