"""A decoder child: `python -m transcoder.child FD`, started by `transcoder.sandbox`, one request after the other.

It holds the decoders of many streams, each from its first chunk to its last. It is the one process that touches hostile
bytes, and it owns nothing. Whatever goes wrong in it beyond a MediaError
ends it; the worker starts another and tries the job once more there.
"""

from __future__ import annotations

import signal
import socket
import sys

from runtime.child import die_with_parent
from transcoder import confine, pipeline, wire
from transcoder.errors import MediaError
from transcoder.stream import Heard, StreamDecoder
from transcoder.warmup import warm_up


def main(argv: list[str]) -> int:
    die_with_parent(signal.SIGKILL)
    confine.own_descriptors(int(argv[1]))
    sock = socket.socket(fileno=confine.SOCKET_FD)  # not closed by hand: a traceback must be out before the worker sees
    warm_up()
    walls = confine.confine()
    sock.sendall(wire.pack(wire.Ready(", ".join(walls.standing), ", ".join(walls.missing))))
    streams: dict[int, StreamDecoder] = {}
    while (request := _receive(sock)) is not None:
        confine.start_job()
        if (answer := _answer(request, streams, sock)) is not None:
            sock.sendall(wire.pack(answer))
    return 0


def _answer(request: wire.Message, streams: dict[int, StreamDecoder], sock: socket.socket) -> wire.Message | None:
    try:
        match request:
            case wire.DecodeFile():
                return _decode_file(request, sock)
            case wire.FeedStream(stream, source):
                if stream not in streams:
                    streams[stream] = StreamDecoder.going_on(request.kept) if request.kept else StreamDecoder(source)
                return _feed(request, streams[stream])
            case wire.CloseStream(stream, drop=True):
                streams.pop(stream, None)
                return None
            case wire.CloseStream(stream, max_seconds=max_seconds):
                decoder = streams.pop(stream, None) or StreamDecoder()
                return _heard(stream, decoder, decoder.close(max_seconds=max_seconds))
            case _:
                raise wire.WireError(f"a child is not told {type(request).__name__}")
    except MediaError as error:
        stream = request.stream if not isinstance(request, wire.Ready) else 0
        streams.pop(stream, None)
        return wire.Refused(stream, error.code, str(error), error.facts())


def _decode_file(job: wire.DecodeFile, sock: socket.socket) -> wire.Message:
    stream = job.stream

    def on_progress(decoded_s: float) -> None:
        sock.sendall(wire.pack(wire.Progress(stream, decoded_s)))

    decoded = pipeline.decode_file(job.data, max_seconds=job.max_seconds, on_progress=on_progress)
    source = decoded.source
    return wire.FileDecoded(
        stream,
        decoded.pcm,
        source.container,
        source.codec,
        source.sample_rate,
        source.channels,
        source.duration_s,
        decoded.lost_packets,
    )


def _feed(request: wire.FeedStream, decoder: StreamDecoder) -> wire.Message:
    if request.lost:
        decoder.lost()
    heard = decoder.feed(request.data, max_seconds=request.max_seconds)
    return _heard(request.stream, decoder, heard, decoder.keep() if request.keep else b"")


def _heard(stream: int, decoder: StreamDecoder, heard: Heard, kept: bytes = b"") -> wire.StreamHeard:
    return wire.StreamHeard(stream, heard.pcm, heard.missing_s, heard.damaged, decoder.what, kept)


def _receive(sock: socket.socket) -> wire.Message | None:
    """The next message; None when the worker has closed its end."""
    header = _read(sock, wire.HEADER_BYTES)
    if header is None:
        return None
    body = _read(sock, wire.body_bytes(header))
    return None if body is None else wire.unpack(body)


def _read(sock: socket.socket, size: int) -> bytes | None:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        if (got := sock.recv_into(view)) == 0:
            return None
        view = view[got:]
    return bytes(data)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
