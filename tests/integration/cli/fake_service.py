"""Stand-ins for the services, as small as the supervisor's side of the contract allows.

`FAKE_<NAME>` in the environment makes one of them misbehave: `refuses` to start, stays `mute`, is `stubborn` about SIGTERM,
leaves a `grandchild`, answers with an `error`, or is `silent`. Each writes its start and end to $FAKE_LOG.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from aiohttp import WSMsgType, web

from runtime.child import die_with_parent
from runtime.notify import ready

PACKAGES = ("gateway", "transcoder", "realtime_bridge", "simulator")


def install(directory: Path) -> None:
    """Make packages of the services' names in a directory that goes to PYTHONPATH."""
    for name in PACKAGES:
        (directory / name).mkdir(parents=True)
        (directory / name / "__init__.py").touch()
        (directory / name / "__main__.py").write_text(
            f"from tests.integration.cli.fake_service import main\n\nmain({name!r})\n"
        )


def main(name: str) -> None:
    """What `python -m <name>` does."""
    die_with_parent()
    manner = os.environ.get(f"FAKE_{name.upper()}", "")
    _log(f"{name} starts {os.getpid()}")
    if manner == "refuses":
        print(f"{name}: it does not want to.", file=sys.stderr, flush=True)
        sys.exit(1)
    asyncio.run(_serve(name, manner))


async def _serve(name: str, manner: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if manner == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        loop.add_signal_handler(signal.SIGTERM, stop.set)
    if manner == "grandchild":
        left = await asyncio.create_subprocess_exec("sleep", "60")
        _log(f"grandchild starts {left.pid}")
    runner = web.AppRunner(_door(manner))
    await runner.setup()
    if name == "gateway":
        try:
            await web.TCPSite(runner, os.environ["HOST"], int(os.environ["PORT"])).start()
        except OSError:
            print(f"gateway: {os.environ['HOST']}:{os.environ['PORT']} is in use.", file=sys.stderr, flush=True)
            sys.exit(1)
    print(f"{name} is here", flush=True)
    if manner != "mute":
        ready()
    await stop.wait()
    await runner.cleanup()
    _log(f"{name} stops")


def _door(manner: str) -> web.Application:
    async def mobile(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT and manner == "error":
                await socket.send_json({"type": "error", "error": "The model refuses the key."})
            elif message.type is WSMsgType.TEXT and manner != "silent":
                await socket.send_json({"type": "audio_response", "audio": "AAAA" * 4000})
                await socket.send_json({"type": "text_response", "text": "[I heard you]"})
        return socket

    app = web.Application()
    app.router.add_get("/ws-mobile/{user}", mobile)
    return app


def _log(line: str) -> None:
    with Path(os.environ["FAKE_LOG"]).open("a") as log:
        log.write(f"{line}\n")
