"""Do once all that is slow, or opens files, the first time: a confined process cannot open any.

PyAV imports some of its parts when it first needs them, and libavcodec builds its tables at the first decode. So
the parts are imported by name here, and a small file goes all the way through the pipeline.
"""

from __future__ import annotations

import io

import av
import av.audio.codeccontext
import av.audio.stream
import av.subtitles.codeccontext
import av.subtitles.stream
import av.video.codeccontext
import av.video.stream
from av import AudioFrame

from transcoder import pipeline


def warm_up() -> None:
    """Some 10 ms. Raises what is wrong with the installation, if anything is."""
    pipeline.decode_file(_silent_file(), max_seconds=1.0)


def _silent_file() -> bytes:
    """A tenth of a second of silence as M4A, AAC at 44.1 kHz: what most clients send."""
    file = io.BytesIO()
    with av.open(file, "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=44_100, layout="stereo")
        for number in range(4):
            frame = AudioFrame(format="fltp", layout="stereo", samples=1024)
            frame.sample_rate, frame.pts = 44_100, 1024 * number
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
