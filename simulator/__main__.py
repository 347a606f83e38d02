"""`python -m simulator`: options, then run."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from runtime.child import die_with_parent
from runtime.notify import ready
from simulator.dialect import Dialect
from simulator.faults import BadFault, Fault, read_script
from simulator.options import BadOption, Options, parse_answer
from simulator.server import CannotListen, running

_RECORDED = 32
"""Sessions whose audio is kept: some 5 MB each by default."""


def main(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 8765,
    answer: Annotated[
        str,
        typer.Option(help="echo, echo=live, wav=FILE, tone=HZ,SECONDS, text=WORDS or call=NAME:JSON (several: with +)."),
    ] = "echo",
    delta_ms: Annotated[int, typer.Option(help="Milliseconds of audio in one delta.")] = 200,
    speed: Annotated[float, typer.Option(help="Times real time at which audio is sent; 0 for all at once.")] = 5.0,
    odd_deltas: Annotated[bool, typer.Option(help="Cut audio through the middle of samples.")] = False,
    think: Annotated[float, typer.Option(help="Seconds from response.created to its first output.")] = 0.0,
    transcription_delay: Annotated[
        list[float] | None,
        typer.Option(help="Seconds from a commit to its transcript; given often: of each commit in turn. Default: 0.3."),
    ] = None,
    session_seconds: Annotated[float, typer.Option(help="Seconds after which a session is closed.")] = 3600.0,
    api_key: Annotated[str | None, typer.Option(help="The only key that is let in.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model there is; may be given often. Default: any.")] = None,
    reject_http: Annotated[int | None, typer.Option(help="Refuse all connections with this HTTP status.")] = None,
    dialect: Annotated[Dialect, typer.Option(help="ga, beta, azure or azure-preview.")] = "ga",
    sparse: Annotated[bool, typer.Option(help="Leave out what servers of other makers leave out.")] = False,
    fault: Annotated[
        list[str] | None, typer.Option(help="What goes wrong, such as close=1011@7, reset@2.5s#2 or http=429.")
    ] = None,
    script: Annotated[Path | None, typer.Option(help="A file of faults: JSON, in a list or one a line.")] = None,
    record: Annotated[float, typer.Option(help="Seconds of received audio kept of each session, to be asked for.")] = 60.0,
    ping_interval: Annotated[float, typer.Option(help="Seconds between WebSocket pings; 0 for none.")] = 20.3,
) -> None:
    """A faithful OpenAI Realtime server without a model."""
    if "PARLEY_PARENT_PID" in os.environ:
        die_with_parent()
    try:
        options = Options(
            answer=parse_answer(answer),
            delta_ms=delta_ms,
            speed=speed,
            odd_deltas=odd_deltas,
            think_s=think,
            transcription_delays_s=tuple(transcription_delay or ()),
            session_s=session_seconds,
            api_key=api_key,
            models=frozenset(model or ()),
            reject_http=reject_http,
            ping_interval_s=ping_interval,
            dialect=dialect,
            sparse=sparse,
            faults=(*map(Fault.parse, fault or ()), *(_script(script) if script is not None else ())),
            record_s=record,
            recorded_sessions=_RECORDED,
            keeps_sessions=False,
        )
        asyncio.run(_serve(options, host, port))
    except (BadOption, BadFault) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except CannotListen as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _script(path: Path) -> tuple[Fault, ...]:
    try:
        return read_script(path.read_text("utf-8"))
    except (OSError, UnicodeError) as error:
        raise BadFault(f"The script {path} cannot be read: {error}.") from error


async def _serve(options: Options, host: str, port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopped.set)
    async with running(options, host, port) as server:
        typer.echo(f"Parley simulator on {server.url}")
        ready()
        await stopped.wait()


if __name__ == "__main__":
    typer.run(main)
