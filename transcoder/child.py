"""A decoder child: `python -m transcoder.child FD`, started by `transcoder.sandbox`, one job after the other.

It is the one process that touches hostile bytes, and it owns nothing. Whatever goes wrong in it beyond a MediaError
ends it; the worker starts another and tries the job once more there.
"""

from __future__ import annotations

import signal
import socket
import sys

from runtime.child import die_with_parent
from transcoder import confine, pipeline, wire
from transcoder.errors import MediaError
from transcoder.warmup import warm_up


def main(argv: list[str]) -> int:
    die_with_parent(signal.SIGKILL)
    confine.own_descriptors(int(argv[1]))
    sock = socket.socket(fileno=confine.SOCKET_FD)  # not closed by hand: a traceback must be out before the worker sees
    warm_up()
    confine.confine()
    sock.sendall(wire.pack(wire.Ready()))
    while (job := _receive(sock)) is not None:
        confine.start_job()
        sock.sendall(wire.pack(_work(job, sock)))
    return 0


def _work(job: wire.Message, sock: socket.socket) -> wire.Message:
    if not isinstance(job, wire.DecodeFile):
        raise wire.WireError(f"a child is not told {type(job).__name__}")
    stream = job.stream

    def on_progress(decoded_s: float) -> None:
        sock.sendall(wire.pack(wire.Progress(stream, decoded_s)))

    try:
        decoded = pipeline.decode_file(job.data, max_seconds=job.max_seconds, on_progress=on_progress)
    except MediaError as error:
        return wire.Refused(stream, error.code, str(error), error.facts())
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
