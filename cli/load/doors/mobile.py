"""The React Native app: a whole recording at a time, in declared PCM; it numbers nothing."""

from __future__ import annotations

import msgspec
import pybase64

from cli.load.doors.door import Over, SocketDoor


class Mobile(SocketDoor):
    speaks_silence = False
    query = "?input_format=pcm16"
    _first = _count = 0

    @property
    def url(self) -> str:
        return f"{self.ws_url}/ws-mobile/load-{self.ledger.session}{self.query}"

    async def say(self, first: int, count: int) -> None:
        """It is recorded."""
        if not self._count:
            self._first = first
        self._count = first + count - self._first

    async def finish(self) -> None:
        first, count = self._first, self._count
        self._count = 0
        self.ledger.say(first, count, self.now())
        audio = pybase64.b64encode_as_string(self.recording(first, count))
        await self._socket.send_str(msgspec.json.encode({"type": "audio", "audio": audio}).decode())

    def recording(self, first: int, count: int) -> bytes:
        return self.speech(first, count)

    async def receive(self, text: str) -> None:
        said = msgspec.json.decode(text)
        match said["type"]:
            case "audio_response":
                self.hear(pybase64.b64decode(said["audio"]))
            case "error":
                self.trouble(said["error"])
                if "session has ended" in said["error"]:
                    raise Over(said["error"])
            case _:
                pass
