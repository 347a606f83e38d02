"""What no recorder ever wrote: cut off, bent, and made to hurt. Each under the name by which a failure is found again."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
from collections.abc import Iterator
from functools import cache

import av
import numpy as np

from tests.media.corpus import FOREIGN, caf_aac, caf_opus, cases, made
from tests.media.make_media import box, make_clip, make_video, repeated, with_duration, without_edit_list

SIXTEENTHS = 16


@cache
def good() -> dict[str, bytes]:
    """One of each kind, whole."""
    files = {str(case): made(case).data for case in cases(everything=False)}
    files |= {path.name: path.read_bytes() for path in sorted(FOREIGN.iterdir()) if path.suffix != ".md"}
    files |= {"caf_aac": caf_aac().data, "caf_opus": caf_opus().data, "moov_first": _moov_first()}
    return files


def truncated() -> Iterator[tuple[str, bytes]]:
    for name, data in good().items():
        for part in range(1, SIXTEENTHS):
            yield f"{name} cut at {part}/{SIXTEENTHS}", data[: len(data) * part // SIXTEENTHS]


def flipped(count: int, seed: int = 5) -> Iterator[tuple[str, bytes]]:
    """A few bits of each kind in turn, half of the time near the start, where the structure is."""
    chance = random.Random(seed)
    names = sorted(good())
    for number in range(count):
        name = names[number % len(names)]
        data = bytearray(good()[name])
        end = len(data) if number // len(names) % 2 else min(len(data), 600)
        for _ in range(chance.choice([1, 2, 5, 30])):
            data[chance.randrange(end)] ^= 1 << chance.randrange(8)
        yield f"{name} flipped #{number} of seed {seed}", bytes(data)


def made_to_hurt() -> Iterator[tuple[str, bytes]]:
    yield "no bytes", b""
    yield "zeros", bytes(500_000)
    yield "ones", b"\xff" * 500_000
    yield "an HLS playlist", b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    yield "a playlist behind a box", box(b"ftyp", b"M4A ") + b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x\n"
    yield "a concat script", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield "a concat script that says it is text", b"file '/etc/passwd'\nfile '/etc/shadow'\n"
    yield "an SDP", b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\n"
    yield "a zip bomb", _zip_bomb()
    yield "a gzip bomb", gzip.compress(bytes(30_000_000))
    yield "ten hours claimed", without_edit_list(with_duration(_second(), 36_000 * 44_100)) + box(b"free", bytes(500_000))
    yield "four hours of one packet", repeated(make_clip(rate=8_000, samples=4000), packets=112_500, declared_ticks=0)
    yield "hours of silence in WebM", _webm_silence()
    yield "a million boxes", box(b"ftyp", b"M4A ") + box(b"free") * 1_000_000 + _second()
    yield "a million boxes within", box(b"ftyp", b"M4A ") + box(b"moov", box(b"free") * 1_000_000)
    yield "a million tracks", box(b"ftyp", b"M4A ") + box(b"moov", box(b"trak") * 1_000_000)
    yield "a film without sound", make_video(with_audio=False)
    yield "a film", make_video(with_audio=True)
    yield "a film in WebM", _webm_video()
    yield "a picture", b"\x89PNG\r\n\x1a\n" + bytes(100)
    for name, layout in {
        "2^31 Hz": (1, 1, 1 << 31, 1 << 31, 2, 16),
        "65,535 channels": (1, 65_535, 44_100, 44_100, 2, 16),
        "no block": (2, 1, 8_000, 8_000, 0, 4),
        "a block of 65,535": (2, 1, 8_000, 8_000, 65_535, 4),
        "0 bits": (1, 1, 8_000, 8_000, 2, 0),
        "GSM": (49, 1, 8_000, 1_625, 65, 0),
    }.items():
        head = struct.pack("<4sIHHIIHH", b"fmt ", 16, *layout)
        yield f"a WAV of {name}", b"RIFF\xff\xff\xff\xffWAVE" + head + b"data\xff\xff\xff\xff" + bytes(200_000)
    yield from many_tags()
    yield "a CAF of chunks", b"caff\0\1\0\0" + struct.pack(">4sq", b"free", 0) * 1_000_000
    yield "a CAF that says 2^62", b"caff\0\1\0\0" + struct.pack(">4sqd4s", b"desc", 1 << 62, 48e3, b"alac") + bytes(2_000)
    yield "an AIFF without a rate", b"FORM\xff\xff\xff\xffAIFFCOMM" + struct.pack(">IHIH", 18, 1, 1 << 31, 16) + bytes(500)
    yield "an ID3 tag of 256 MB", b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(500_000)
    yield "a million ID3 tags", b"ID3\4\0\0\0\0\0\0" * 1_000_000
    yield "Ogg pages of nothing", (b"OggS\0\2" + bytes(20) + b"\0") * 300_000
    yield (
        "EBML of nothing",
        b"\x1a\x45\xdf\xa3\x84webm\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" + b"\xec\x80" * 2_000_000,
    )
    yield "FLAC of nothing", b"fLaC" + b"\1\0\0\0" * 2_000_000
    yield "ADTS of nothing", bytes.fromhex("fff15080 00fffc") * 1_000_000
    yield "AMR of nothing", b"#!AMR\n" + b"\x7c" * 3_000_000


def many_tags(count: int = 200_000) -> Iterator[tuple[str, bytes]]:
    """Good files with so many names that whoever keeps them in a list is busy for minutes."""
    names = [b"%06x" % number for number in range(count)]
    second = _second()
    end = second.index(b"moov") - 4
    tag = b"".join(
        box(b"----", box(b"mean", bytes(4), b"a"), box(b"name", bytes(4), name), box(b"data", bytes(8), b"x"))
        for name in names
    )
    hdlr = box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    meta = box(b"meta", bytes(4), hdlr, box(b"ilst", tag))
    yield "an M4A of tags", second[:end] + box(b"moov", second[end + 8 :], box(b"udta", meta))[:15_000_000]
    yield "an M4A of tags outside", box(b"ftyp", b"M4A ") + meta[:12_000_000] + second
    caf = good()["caf_pcm_s16le-48000-mono"]
    info = struct.pack(">I", count) + b"".join(name + b"\0x\0" for name in names)
    yield "a CAF of tags", caf[:52] + struct.pack(">4sq", b"info", len(info)) + info + caf[52:]
    wav = good()["wav_pcm_s16le-8000-mono"]
    listed = b"INFO" + b"".join(b"%s\2\0\0\0x\0" % name[2:] for name in names)
    yield "a WAV of tags", wav[:36] + struct.pack("<4sI", b"LIST", len(listed)) + listed + wav[36:]
    flac = good()["flac-48000-mono"]
    comments = struct.pack("<II", 0, count) + b"".join(struct.pack("<I", 8) + name + b"=x" for name in names)
    yield "a FLAC of tags", flac[:42] + struct.pack(">I", 4 << 24 | len(comments)) + comments + flac[42:]
    aiff = good()["aiff_pcm_s16be-44100-mono"]
    frames = b"".join(b"TXXX" + struct.pack(">IH", 10, 0) + b"\0" + name + b"\0x\0" for name in names)
    size = len(frames)
    id3 = b"ID3\3\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + frames
    yield "an AIFF of tags", aiff[:12] + struct.pack(">4sI", b"ID3 ", len(id3)) + id3 + aiff[12:]
    yield "an MP3 of tags", id3 + good()["mp3-44100-mono"]
    speex = good()["speex.ogg"]
    page = speex[: speex.index(b"OggS", 4)]
    body = comments[:60_000]
    segments = bytes([255]) * (len(body) // 255) + bytes([len(body) % 255])
    header = struct.pack("<4sBBqIIIB", b"OggS", 0, 0, 0, struct.unpack_from("<I", speex, 14)[0], 1, 0, len(segments))
    yield "a Speex of tags", page + header + segments + body + speex[speex.index(b"OggS", len(page) + 4) :]


def everything(flips: int) -> Iterator[tuple[str, bytes]]:
    yield from made_to_hurt()
    yield from truncated()
    yield from flipped(flips)


def _moov_first() -> bytes:
    return make_clip(rate=44_100, layout="stereo", samples=44_100, moov_first=True).data


def _second() -> bytes:
    return make_clip(rate=44_100, samples=44_100).data


def _zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("voice.m4a", bytes(50_000_000))
    return file.getvalue()


def _webm_silence() -> bytes:
    """Two hours of an Opus packet that says nothing: a few bytes for 60 ms."""
    start = made(next(case for case in cases(everything=False) if case.recipe.name == "webm_live")).data
    head = start[: start.index(bytes.fromhex("1f43b675"))]
    blocks = b"".join(b"\xa3\x87\x81" + struct.pack(">h", 60 * n % 30_000) + b"\x80\x18\xff\xfe" for n in range(120_000))
    return head + bytes.fromhex("1f43b675 01ffffffffffffff e78100") + blocks


def _webm_video() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        picture = output.add_stream("mpeg4", rate=5)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64), 40 * number, np.uint8), format="gray")
            output.mux(picture.encode(frame.reformat(format="yuv420p")))
        output.mux(picture.encode(None))
    return file.getvalue()
