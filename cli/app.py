"""The `parley` command: which commands there are and what they take; what they do stands in a file each."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from runtime.errors import ParleyError

app = typer.Typer(
    name="parley",
    help="Parley, a voice gateway: any client, codec and transport, in real time, to one speech-to-speech model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

HELLO = Path(__file__).parent / "media" / "hello.m4a"


class AudioFormatName(StrEnum):
    """How the answer travels."""

    PCM16 = "pcm16"
    WAV = "wav"


class DoorName(StrEnum):
    """The client contracts that `parley talk` speaks."""

    MOBILE = "mobile"


class ReplayDoorName(StrEnum):
    """Those that `parley replay` speaks."""

    OPENAI = "openai"
    WATCH = "watch"
    MOBILE = "mobile"


@app.command()
def up(
    gateways: Annotated[int, typer.Option(min=1, max=64, help="Gateways, on consecutive ports from PORT on.")] = 1,
    transcoders: Annotated[int, typer.Option(min=1, max=64, help="Transcoder processes.")] = 1,
    bridges: Annotated[int, typer.Option(min=1, max=64, help="Bridge processes.")] = 1,
    check: Annotated[bool, typer.Option(help="Speak to it once after it has started.")] = True,
    check_file: Annotated[Path, typer.Option(help="What to say in the check.", show_default=False)] = HELLO,
) -> None:
    """Start everything on this machine: Redis and a simulated model where none is set, and the three services."""
    from cli.up import UpOptions, run

    raise typer.Exit(asyncio.run(run(UpOptions(gateways, transcoders, bridges, check_file if check else None))))


@app.command()
def talk(
    file: Annotated[Path, typer.Argument(help="The recording to send: M4A, WebM, WAV … or raw .pcm (24 kHz mono).")],
    url: Annotated[str, typer.Option(help="The gateway.")] = "ws://127.0.0.1:8000",
    door: Annotated[DoorName, typer.Option(help="The client contract to speak.")] = DoorName.MOBILE,
    user: Annotated[str | None, typer.Option(help="Who is talking; random when left out.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the answer goes.")] = Path(".parley/answer.wav"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
    audio_format: Annotated[AudioFormatName, typer.Option(help="How the answer travels.")] = AudioFormatName.PCM16,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the next message.")] = 30.0,
    token: Annotated[str | None, typer.Option(help="A device token; `parley token` mints one.", show_default=False)] = None,
) -> None:
    """Send a recording to a running gateway and keep the spoken answer as a WAV file."""
    from cli.talk import read_recording, run

    raise typer.Exit(asyncio.run(run(read_recording(file), url, user, audio_format.value, timeout, output, as_json, token)))


@app.command()
def load(
    verify: Annotated[bool, typer.Option("--verify", help="Count every frame, both ways, instead of measuring.")] = False,
    fleet: Annotated[bool, typer.Option("--fleet", help="Start an own server, model and services.")] = False,
    url: Annotated[list[str] | None, typer.Option(help="A gateway that runs, with an echo behind.")] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(help="Where a bridge, a transcoder, a gateway says what it uses (PARLEY_METRICS_PORT); with --url."),
    ] = None,
    metrics_token: Annotated[
        str | None, typer.Option(envvar="PARLEY_METRICS_TOKEN", help="What it is shown.", show_default=False)
    ] = None,
    redis_url: Annotated[str | None, typer.Option(help="Have Redis say it, too; with --url.", show_default=False)] = None,
    client: Annotated[
        list[str] | None,
        typer.Option(
            help="Door and codec, as openai, web, mobile-m4a; may be given often. Default: openai (--verify: each)."
        ),
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(help="What goes wrong, as 'gateway kill', or all (--verify).")] = None,
    sessions: Annotated[int, typer.Option(min=0, max=10_000, help="How many; 0 for one of each class.")] = 0,
    ramp: Annotated[float, typer.Option(min=0, help="Seconds over which they come.")] = 0.0,
    think: Annotated[float, typer.Option(min=0, help="Seconds from an answer to the next turn, on average.")] = 1.0,
    interrupt: Annotated[float, typer.Option(min=0, max=1, help="The part of the answers that is interrupted.")] = 0.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long they speak.")] = 30.0,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two faults (--verify).")] = 8.0,
    seed: Annotated[int, typer.Option(help="Of the schedule of faults, and of what is said.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Runs, each with the next seed (--verify).")] = 1,
    each: Annotated[int, typer.Option(min=1, max=16, help="Processes of each service (--fleet).")] = 2,
    bridges: Annotated[int | None, typer.Option(min=1, max=16, help="Another number of bridges (--fleet --verify).")] = None,
    pause: Annotated[float, typer.Option(min=0, help="Seconds between an answer and the next turn (--verify).")] = 0.3,
    speed: Annotated[float, typer.Option(min=0.5, help="Of the model's answers, times real time (--verify).")] = 2.0,
    json: Annotated[Path | None, typer.Option(help="Where the figures go, as JSON.", show_default=False)] = None,
    html: Annotated[Path | None, typer.Option(help="Where they go as a page with plots.", show_default=False)] = None,
    log: Annotated[Path | None, typer.Option(help="Where the services' logs go (--fleet).", show_default=False)] = None,
) -> None:
    """Clients speak in real time: how soon are they answered, and what does it cost? With --verify: is anything lost?"""
    if fleet == bool(url):
        raise typer.BadParameter("Say either --fleet or --url.")
    if (metrics or redis_url) and (fleet or verify):
        raise typer.BadParameter("--metrics and --redis-url are for a server that runs, measured: --url without --verify.")
    if not verify:
        if fault:
            raise typer.BadParameter("Faults are for --verify.")
        from cli.load import measure_command

        asked = measure_command.MeasureOptions(
            urls=tuple(each.rstrip("/") for each in url or ()),
            metrics=tuple(metrics or ()),
            metrics_token=metrics_token,
            redis_url=redis_url,
            clients=tuple(client or ()),
            sessions=sessions,
            seconds=seconds,
            ramp_s=ramp,
            think_s=think,
            interrupts=interrupt,
            seed=seed,
            each=each,
            json=json,
            html=html,
            log=log,
        )
        raise typer.Exit(measure_command.run(asked))
    from cli.load.command import LoadOptions, run

    options = LoadOptions(
        urls=tuple(url or ()),
        clients=tuple(client or ()),
        faults=tuple(fault or ()),
        sessions=sessions,
        seconds=seconds,
        every_s=every,
        seeds=tuple(range(seed, seed + rounds)),
        each=each,
        bridges=bridges,
        pause_s=pause,
        speed=speed,
        json=json,
        log=log,
    )
    raise typer.Exit(run(options))


@app.command()
def replay(
    file: Annotated[
        Path, typer.Argument(help="The sound of a recorded call: two channels, left the user, right the model.")
    ],
    log: Annotated[
        Path | None, typer.Option(help="Its log; events.jsonl beside it when left out.", show_default=False)
    ] = None,
    door: Annotated[ReplayDoorName, typer.Option(help="The client contract to speak.")] = ReplayDoorName.OPENAI,
    url: Annotated[str, typer.Option(help="The gateway.")] = "ws://127.0.0.1:8000",
    speed: Annotated[float, typer.Option(min=0.1, max=20, help="How much faster than it was said.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
    token: Annotated[str | None, typer.Option(help="A device token; `parley token` mints one.", show_default=False)] = None,
) -> None:
    """Send the user's side of a recorded call through a door again, and compare what comes back."""
    from cli.replay.command import run

    raise typer.Exit(asyncio.run(run(file, log, door.value, url, speed, as_json, token)))


@app.command()
def sessions(
    user: Annotated[str | None, typer.Option(help="Only those of this user.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every 2 s, until Ctrl-C.")] = False,
    gateways: Annotated[bool, typer.Option("--gateways", help="Show the gateways instead.")] = False,
    end: Annotated[str | None, typer.Option(help="End this session: an id, or a user's newest.", show_default=False)] = None,
    drain: Annotated[str | None, typer.Option(help="Have this gateway send its clients away.", show_default=False)] = None,
    take: Annotated[str | None, typer.Option(help="Have this gateway take clients again.", show_default=False)] = None,
    url: Annotated[str | None, typer.Option(help="Any gateway. Default: as HOST and PORT say.", show_default=False)] = None,
) -> None:
    """Show who talks now, at any gateway: state, what waits, latency, cost. It takes a key of PARLEY_ADMIN_KEYS."""
    from cli.operate.sessions import SessionsOptions, run

    raise _done(run(SessionsOptions(url, user, limit, as_json, watch, gateways, end, drain, take)))


@app.command()
def tail(
    session: Annotated[str, typer.Argument(help="A session's id, or a user: then their newest.")],
    words: Annotated[bool, typer.Option("--words", help="With what is said; takes a key of PARLEY_LISTEN_KEYS.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    url: Annotated[str | None, typer.Option(help="Any gateway. Default: as HOST and PORT say.", show_default=False)] = None,
) -> None:
    """Follow what happens in a live session, without its sound. It takes a key of PARLEY_ADMIN_KEYS."""
    from cli.operate.tail import run

    raise _done(run(session, url, words=words, as_json=as_json))


@app.command()
def listen(
    session: Annotated[str, typer.Argument(help="A session's id, or a user: then their newest.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A WAV file.", show_default=False)] = None,
    to_stdout: Annotated[bool, typer.Option("--to-stdout", help="A WAV without an end, for a player: | ffplay -")] = False,
    mixed: Annotated[bool, typer.Option("--mixed", help="One channel; else the user left, the model right.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="At most so long.", show_default=False)] = None,
    url: Annotated[str | None, typer.Option(help="Any gateway. Default: as HOST and PORT say.", show_default=False)] = None,
) -> None:
    """Listen to both voices of a live session. It takes a key of PARLEY_LISTEN_KEYS, and the gateway's log says so."""
    from cli.operate.listen import run

    if (output is None) != to_stdout:
        raise typer.BadParameter("Say either --output FILE or --to-stdout.")
    raise _done(run(session, url, output, mixed=mixed, seconds=seconds))


def _done(command: Coroutine[Any, Any, int]) -> typer.Exit:
    """Run it; who has seen enough presses Ctrl-C, and that is no failure."""
    try:
        return typer.Exit(asyncio.run(command))
    except KeyboardInterrupt:
        return typer.Exit(0)
    except BrokenPipeError:  # whoever read it is gone
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for what Python still wants to flush
        return typer.Exit(0)


@app.command("token")
def mint_token(
    user: Annotated[str | None, typer.Option(help="Whose; random when left out.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="Which device; random when left out.", show_default=False)] = None,
    days: Annotated[float, typer.Option(min=0.001, max=3650, help="How long it is good.")] = 7.0,
) -> None:
    """Mint a token for development, signed with the first secret of JWT_SECRET, and print it."""
    from cli.token import run

    print(run(user, device, days))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Look at everything that Parley needs on this machine and say what to do about what is missing."""
    from cli.doctor import run

    raise typer.Exit(asyncio.run(run(as_json)))


def main() -> None:
    """The console script. Ends the process: 0 when all went well, 1 with a sentence when not, 2 for wrong usage."""
    try:
        app()
    except ParleyError as error:
        print(f"parley: {error}", file=sys.stderr)
        sys.exit(1)
