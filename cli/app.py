"""The `parley` command: which commands there are and what they take; what they do stands in a file each."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

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
    verify: Annotated[bool, typer.Option("--verify", help="Count every frame, both ways.")] = False,
    fleet: Annotated[bool, typer.Option("--fleet", help="Start an own server, model and services, and break them.")] = False,
    url: Annotated[list[str] | None, typer.Option(help="A gateway that runs, with an echo behind.")] = None,
    client: Annotated[list[str] | None, typer.Option(help="A client class; may be given often. Default: each.")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="What goes wrong, as 'gateway kill', or all.")] = None,
    sessions: Annotated[int, typer.Option(min=0, max=10_000, help="How many; 0 for one of each class.")] = 0,
    seconds: Annotated[float, typer.Option(min=1, help="How long they speak.")] = 30.0,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two faults.")] = 8.0,
    seed: Annotated[int, typer.Option(help="Of the schedule of faults, and of what is said.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Runs, each with the next seed.")] = 1,
    each: Annotated[int, typer.Option(min=1, max=16, help="Processes of each service (--fleet).")] = 2,
    bridges: Annotated[int | None, typer.Option(min=1, max=16, help="Another number of bridges (--fleet).")] = None,
    pause: Annotated[float, typer.Option(min=0, help="Seconds between an answer and the next turn.")] = 0.3,
    speed: Annotated[float, typer.Option(min=0.5, help="Of the model's answers, times real time (--fleet).")] = 2.0,
    json: Annotated[Path | None, typer.Option(help="Where the figures go, as JSON.", show_default=False)] = None,
    log: Annotated[Path | None, typer.Option(help="Where the services' logs go (--fleet).", show_default=False)] = None,
) -> None:
    """Clients of every class speak at once; each 20 ms that they say or hear is counted against what is promised."""
    from cli.load.command import LoadOptions, run

    if not verify or fleet == bool(url):
        raise typer.BadParameter("Say --verify, and either --fleet or --url.")
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
