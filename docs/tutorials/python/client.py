"""Say recordings to Parley as a microphone would, and write down what comes back, as a loudspeaker would play it.

    python client.py ANSWER.wav QUESTION.wav …

All are WAV, 24 kHz, 16 bits, mono. A further question interrupts the answer to the one before, soon after its beginning.
"""

import asyncio
import base64
import contextlib
import json
import os
import sys
import time
import wave

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

SERVER = os.environ.get("PARLEY", "ws://127.0.0.1:8000").replace("http", "ws", 1)
TOKEN = os.environ.get("TOKEN")

FRAME_S = 0.04
FRAME = 1920
"""bytes of that: PCM16, 24 kHz, mono"""


class Line:
    """One session, over as many connections as it takes."""

    def __init__(self):
        self.socket: ClientConnection | None = None
        self.session = ""
        self.after = ""
        """the last thing that was heard"""
        self.number = self.acked = 0
        """of the last event that was said, and that is known to be stored"""
        self.kept = {}
        """number → when it was said, and its text"""

    async def say(self, kind, **fields):
        """Number it, keep it, and send it if there is a line."""
        self.number += 1
        text = json.dumps({"type": kind, "useq": self.number, **fields})
        self.kept[self.number] = (time.monotonic(), text)
        self.forget()
        if self.socket is not None:
            await self.send(self.socket, text)

    async def send(self, socket, text):
        with contextlib.suppress(ConnectionClosed):  # it is kept, and said again when the line is back
            await socket.send(text)

    def forget(self):
        """What is stored, but not the last ten seconds of it: a server that has lost its end asks for them again."""
        for number, (at, _) in list(self.kept.items()):
            if number > self.acked or time.monotonic() - at < 10:
                break
            del self.kept[number]

    async def run(self, on_event):
        """Tell all that the session says, each thing once and in order, until it ends."""
        tries = 0
        while tries < 8:
            try:
                async with connect(self.url(), additional_headers=self.headers(), max_size=None) as socket:
                    async for text in socket:
                        event = json.loads(text)
                        await self.look_at(socket, event)
                        on_event(event)
                        tries = 0
                return  # closed with 1000: the session has ended
            except ConnectionClosed as closed:
                if closed.rcvd and is_final(closed.rcvd.code):
                    raise Over(f"It is over: {closed.rcvd}.") from None
                print(f"the line broke ({closed.rcvd or 'cut'})", file=sys.stderr)
            except InvalidStatus as refused:
                if refused.response.status_code not in (429, 503):
                    raise Over(f"{SERVER}: {refused}.") from None
            except (InvalidURI, InvalidHandshake) as wrong:
                raise Over(f"{SERVER} is no server of Parley's: {wrong}.") from None
            except OSError as error:
                print(f"{SERVER} does not answer: {error}", file=sys.stderr)
            self.socket = None
            await asyncio.sleep(min(8, 0.2 * 2**tries))
            tries += 1
        raise Over(f"{SERVER} does not answer.")

    def url(self):
        goes_on = f"&session={self.session}&after={self.after}" if self.session else ""
        return f"{SERVER}/v1/realtime?parley=1&barge_in=server{goes_on}"

    def headers(self):
        return {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}

    async def look_at(self, socket, event):
        self.after = event.get("did", self.after)
        match event["type"]:
            case "session.created":
                self.session = event["session"]["id"]
                await self.say_again(socket, 1)
            case "parley.resumed":
                print("gone on", file=sys.stderr)
                await self.say_again(socket, event["next_useq"])
            case "parley.want":
                await self.say_again(socket, event["useq"])
            case "parley.ack":
                self.acked = event["useq"]
            case "parley.resync":
                print("Something of the answer is lost.", file=sys.stderr)

    async def say_again(self, socket, number):
        """From this number on; then whatever is said goes out at once."""
        self.socket = None
        while number <= self.number:
            await self.send(socket, self.kept[number][1])
            number += 1
        self.socket = socket

    async def close(self):
        """The session ends. After any other break it would wait for us."""
        await self.socket.close(1000)


class Over(Exception):
    """Dialling again is of no use; says why."""


def is_final(code):
    return code in (1008, 1009, 1011, 3000, 4000) or 4400 <= code < 4500


class Speaker:
    """Writes a file at the pace at which a sound card plays."""

    def __init__(self, path):
        open(path, "wb").close()  # raises OSError where it cannot be written
        self.file = wave.open(path, "wb")
        self.file.setparams((1, 2, 24_000, 0, "NONE", ""))
        self.waiting = bytearray()

    async def run(self):
        while True:
            await asyncio.sleep(FRAME_S)
            self.file.writeframes(self.waiting[:FRAME])
            del self.waiting[:FRAME]

    async def drained(self):
        while self.waiting:
            await asyncio.sleep(FRAME_S)

    def hush(self):
        self.waiting.clear()


def read(path):
    """The sound of a WAV."""
    try:
        with wave.open(path, "rb") as file:
            if file.getparams()[:3] == (1, 2, 24_000) and file.getnframes():
                return file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        sys.exit(f"{path} cannot be read: {error}.")
    sys.exit(f"{path} has no sound of 24 kHz, 16 bits, mono.")


async def speak(line, pcm):
    """A frame each 40 ms, and three quarters of a second of silence, by which the model knows that we have finished."""
    pcm += bytes(36_000)
    begun = time.monotonic()
    for at in range(0, len(pcm), FRAME):
        await asyncio.sleep(begun + at / FRAME * FRAME_S - time.monotonic())
        await line.say("input_audio_buffer.append", audio=base64.b64encode(pcm[at : at + FRAME]).decode())


async def answer_begins(begun):
    try:
        await asyncio.wait_for(begun.wait(), 30)
    except TimeoutError:
        raise Over("No answer has begun within 30 s. Does anybody speak in the recording?") from None


async def main(answer, *questions):
    line, speaker = Line(), Speaker(answer)
    begun, done = asyncio.Event(), asyncio.Event()

    def on_event(event):
        match event["type"]:
            case "input_audio_buffer.speech_started":  # somebody speaks: be silent, Parley does the rest
                speaker.hush()
                begun.clear()
                done.clear()
            case "response.output_audio.delta":
                speaker.waiting += base64.b64decode(event["delta"])
                begun.set()
            case "response.output_audio_transcript.done":
                print(event["transcript"], flush=True)
            case "response.done" if event["response"]["status"] == "completed":
                done.set()
            case "error":
                print(event["error"]["message"], file=sys.stderr)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(line.run(on_event))
        playing = tasks.create_task(speaker.run())
        for question in questions:
            await speak(line, question)
            await answer_begins(begun)
            await asyncio.sleep(0.2)
        await done.wait()
        await speaker.drained()
        await line.close()
        playing.cancel()


if len(sys.argv) < 3:
    sys.exit(__doc__)
try:
    asyncio.run(main(sys.argv[1], *map(read, sys.argv[2:])))
except ExceptionGroup as failed:
    if failed.subgroup(Over) is None:
        raise
    sys.exit(f"{failed.exceptions[0]}")
except OSError as error:
    sys.exit(f"{error}")  # ANSWER.wav cannot be written
except KeyboardInterrupt:
    sys.exit(130)
