"""`parley up`: everything on this machine, one process each, started together, checked by speaking to it, stopped in order.

The order of things: server → (simulator, transcoders, bridges, gateways) → self-check → watch; back in `stop_order`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.status import Status

from cli import redis_server
from cli.errors import SelfCheckFailed, TalkError
from cli.screen import Screen
from cli.settings import CommandSettings, http_url
from cli.supervisor import ChildSpec, Supervisor
from cli.talk import Recording, TalkResult, read_recording, table, talk, write_wav
from cli.token import token_for_check
from runtime import notify
from runtime.embedded import answering_process, find_server, server_arguments
from runtime.errors import SettingsError, StartError
from runtime.ports import HeldPorts

ANSWER = Path(".parley/answer.wav")

# Doors close first, so that nobody new comes in; what they need ends after them.
_STOP_GATEWAY, _STOP_WORKERS, _STOP_SIMULATOR, _STOP_SERVER = range(4)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """How many of each, and what to say in the self-check (None: no check)."""

    gateways: int = 1
    transcoders: int = 1
    bridges: int = 1
    check_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start."""

    server: ChildSpec | None
    """None when REDIS_URL names one that is not ours."""
    services: tuple[ChildSpec, ...]
    urls: tuple[str, ...]
    """Of the gateways."""
    simulated: bool


async def run(options: UpOptions) -> int:
    """Start, check, watch, until Ctrl-C or SIGTERM (0); a second one does not wait. Raises ParleyError."""
    settings = CommandSettings.load()
    if settings.openai_base_url and not settings.openai_api_key:
        raise SettingsError(
            f"OPENAI_BASE_URL is {settings.openai_base_url}, but there is no OPENAI_API_KEY. Set it as well; any value"
            " will do if that server wants none. Unset both to talk to the simulator."
        )
    recording = read_recording(options.check_file) if options.check_file else None
    screen = Screen()
    async with contextlib.AsyncExitStack() as stack:
        ports = stack.enter_context(HeldPorts())
        supervisor = await stack.enter_async_context(Supervisor(screen.line, screen.say))
        work = asyncio.create_task(_serve(options, settings, recording, supervisor, ports, screen))
        with _signals(work, supervisor, screen):
            try:
                await work
            except asyncio.CancelledError:
                if not work.cancelled():
                    raise
            finally:
                await supervisor.stop()
    screen.say("Everything has stopped.")
    return 0


async def _serve(
    options: UpOptions,
    settings: CommandSettings,
    recording: Recording | None,
    supervisor: Supervisor,
    ports: HeldPorts,
    screen: Screen,
) -> None:
    began = time.monotonic()
    plan = make_plan(options, settings, supervisor.directory, ports, screen)
    if plan.simulated:
        screen.loud("No model is behind this: the simulator answers. Set OPENAI_API_KEY to talk to a real one.")
    if not settings.own_server:
        await _check_server(settings.redis_url, screen)
    with screen.status("Starting") as status:
        watch = asyncio.create_task(_show_progress(supervisor, status))
        try:
            if plan.server is not None:
                await supervisor.start([plan.server])
            await supervisor.start(plan.services)
        finally:
            watch.cancel()
    screen.say(f"Started in {time.monotonic() - began:.1f} s.")
    if recording is not None:
        with screen.status("Speaking to it"):
            result = await supervisor.during(self_check(recording, plan.urls[0], token_for_check(settings)))
        screen.print(table(recording, result, ANSWER))
    where = " ".join(plan.urls)
    elsewhere = "" if plan.urls[0] == "http://127.0.0.1:8000" else f" --url {plan.urls[0]}"
    page = f"{plan.urls[0]}/voice-realtime"
    screen.say(f"Listening on {where} · talk to it: {page}, or parley talk FILE{elsewhere} · stop it: Ctrl-C")
    notify.ready()
    await supervisor.watch()


async def self_check(recording: Recording, url: str, token: str | None = None) -> TalkResult:
    """Speak to the gateway as a client would and keep the answer. Raises SelfCheckFailed with the sentences it gave."""
    try:
        result = await talk(recording, url, token=token)
    except TalkError as error:
        raise SelfCheckFailed([str(error)]) from None
    if result.errors:
        raise SelfCheckFailed(result.errors)
    if not result.audio:
        raise SelfCheckFailed([f"{recording.path.name} was answered without speech."])
    write_wav(ANSWER, result.audio)
    return result


def make_plan(options: UpOptions, settings: CommandSettings, directory: Path, ports: HeldPorts, screen: Screen) -> Plan:
    """Decide what to start. Raises ServerError when there is no Redis server and none to start."""
    redis_url, server = settings.redis_url, None
    if settings.own_server:
        binary = find_server()
        for sentence in binary.passed_over:
            screen.say(sentence)
        port = ports.take()
        redis_url = f"redis://127.0.0.1:{port}/0"
        server = ChildSpec(
            "redis",
            server_arguments(binary, port, directory),
            colour="red",
            stop_order=_STOP_SERVER,
            probe=functools.partial(_serves, port),
            quiet=True,
        )
    # Ctrl-C is to be over at once.
    common = {"REDIS_URL": redis_url, "PARLEY_DRAIN_S": os.environ.get("PARLEY_DRAIN_S", "0")}
    services: list[ChildSpec] = []
    simulated = settings.openai_api_key is None
    if simulated:
        port = ports.take()
        simulator = ["--host", "127.0.0.1", "--port", str(port)]
        services.append(ChildSpec("simulator", _module("simulator", *simulator), {}, "yellow", stop_order=_STOP_SIMULATOR))
        common |= {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "simulator"}
    workers = [("transcoder", "transcoder", "magenta")] * options.transcoders
    workers += [("bridge", "realtime_bridge", "cyan")] * options.bridges
    names = _numbered([name for name, _, _ in workers])
    for name, (_, module, colour) in zip(names, workers, strict=True):
        services.append(ChildSpec(name, _module(module), common, colour, stop_order=_STOP_WORKERS))
    urls: list[str] = []
    for number, name in enumerate(_numbered(["gateway"] * options.gateways)):
        port = settings.port + number if settings.port else ports.take()
        here = {"HOST": settings.host, "PORT": str(port)}
        services.append(ChildSpec(name, _module("gateway"), {**common, **here}, "green", stop_order=_STOP_GATEWAY))
        urls.append(http_url(settings.host, port))
    return Plan(server, _with_metrics(services, settings.metrics_port), tuple(urls), simulated)


def _with_metrics(services: list[ChildSpec], port: int | None) -> tuple[ChildSpec, ...]:
    """Each that has metrics with a port for them: the next ones from this one on."""
    if not port:
        return tuple(services)
    have = [spec for spec in services if spec.stop_order in (_STOP_GATEWAY, _STOP_WORKERS)]
    return tuple(
        replace(spec, environment={**spec.environment, "PARLEY_METRICS_PORT": str(port + have.index(spec))})
        if spec in have
        else spec
        for spec in services
    )


def _serves(port: int, pid: int) -> bool:
    return answering_process(port) == pid


def _numbered(names: list[str]) -> list[str]:
    """`a, b, b` → `a, b-1, b-2`."""
    return [f"{name}-{names[: at + 1].count(name)}" if names.count(name) > 1 else name for at, name in enumerate(names)]


def _module(name: str, *arguments: str) -> list[str]:
    """The command that runs one of our packages; -P because the working directory may hold another of that name."""
    checkout = Path(__file__).parent.parent
    safe = [] if checkout == Path.cwd() else ["-P"]
    return [sys.executable, *safe, "-m", name, *arguments]


async def _check_server(url: str, screen: Screen) -> None:
    facts = await redis_server.ask(url)
    if not facts.new_enough:
        raise StartError(f"REDIS_URL: {redis_server.version_advice(facts)}")
    if not facts.keeps_what_it_took:
        screen.loud(f"REDIS_URL: {redis_server.policy_advice(facts.policy)}")


@contextlib.contextmanager
def _signals(work: asyncio.Task[None], supervisor: Supervisor, screen: Screen) -> Iterator[None]:
    """The first signal stops what we do; a second one, what we wait for."""

    def received() -> None:
        if not work.done() and not work.cancelling():
            screen.say("Stopping.")
            work.cancel()
        else:
            supervisor.hurry()

    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for sig in signals:
        loop.add_signal_handler(sig, received)
    try:
        yield
    finally:
        for sig in signals:
            loop.remove_signal_handler(sig)


async def _show_progress(supervisor: Supervisor, status: Status) -> None:
    while True:
        if waiting := supervisor.waiting_for:
            status.update(f"Starting: waiting for {', '.join(waiting)}")
        await asyncio.sleep(0.1)
