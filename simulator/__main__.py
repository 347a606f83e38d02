"""`python -m simulator`: options, then run."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Annotated

import typer

from runtime.child import die_with_parent
from runtime.notify import ready
from simulator.dialect import Dialect
from simulator.faults import BadFault, Fault
from simulator.options import BadOption, Options, parse_answer
from simulator.server import CannotListen, running


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
    transcription_delay: Annotated[float, typer.Option(help="Seconds from a commit to its transcript.")] = 0.3,
    session_seconds: Annotated[float, typer.Option(help="Seconds after which a session is closed.")] = 3600.0,
    api_key: Annotated[str | None, typer.Option(help="The only key that is let in.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model there is; may be given often. Default: any.")] = None,
    reject_http: Annotated[int | None, typer.Option(help="Refuse all connections with this HTTP status.")] = None,
    dialect: Annotated[Dialect, typer.Option(help="ga, beta, azure or azure-preview.")] = "ga",
    sparse: Annotated[bool, typer.Option(help="Leave out what servers of other makers leave out.")] = False,
    fault: Annotated[list[str] | None, typer.Option(help="What goes wrong, such as close=1011@7 or reset@3#2.")] = None,
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
            transcription_delay_s=transcription_delay,
            session_s=session_seconds,
            api_key=api_key,
            models=frozenset(model or ()),
            reject_http=reject_http,
            ping_interval_s=ping_interval,
            dialect=dialect,
            sparse=sparse,
            faults=tuple(map(Fault.parse, fault or ())),
            record_s=0.0,  # nobody outside this process could look at it
        )
        asyncio.run(_serve(options, host, port))
    except (BadOption, BadFault) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except CannotListen as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


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
