"""Every codec in every container at many rates, mono and stereo, from real speech: `corpus()` and what lies in `foreign/`.

A recipe says whether its container states how much was recorded; where it does not, FFmpeg's own length is the truth.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from av import AudioLayout

from tests.media.make_media import Clip, encode_any, find, make_clip, speech

FOREIGN = Path(__file__).parent / "foreign"
SECONDS = 1.37

_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "250000"}
_LOW = (8_000, 11_025, 16_000, 22_050, 24_000)
_HIGH = (32_000, 44_100, 48_000)
_ALL = (*_LOW, *_HIGH, 96_000)


@dataclass(frozen=True)
class Recipe:
    name: str
    container: str
    codec: str
    rates: tuple[int, ...]
    """the first is the one that every run of the tests takes"""
    layouts: tuple[str, ...] = ("mono", "stereo")
    states_its_length: bool = True
    streams: bool = False
    """it can be read as it comes"""
    options: tuple[tuple[str, str], ...] = ()


RECIPES = (
    Recipe("m4a_aac", "ipod", "aac", (44_100, *_LOW, 32_000, 48_000, 96_000)),
    Recipe("m4a_alac", "ipod", "alac", (48_000, 16_000, 44_100, 96_000)),
    Recipe("mp4_opus", "mp4", "libopus", (48_000,)),  # at 16 kHz FFmpeg's own decode comes late by the pre-skip
    Recipe("mp4_flac", "mp4", "flac", (48_000, 16_000, 44_100)),
    Recipe("mp4_mp3", "mp4", "libmp3lame", (44_100, 24_000)),
    Recipe("mov_pcm_s16le", "mov", "pcm_s16le", (44_100, 8_000)),
    Recipe("mov_pcm_s24le", "mov", "pcm_s24le", (48_000,)),
    Recipe("mov_pcm_f32le", "mov", "pcm_f32le", (48_000,)),
    Recipe("mov_pcm_s16be", "mov", "pcm_s16be", (48_000,)),
    Recipe("3gp_amr_nb", "3gp", "libopencore_amrnb", (8_000,), ("mono",)),
    Recipe("3gp_aac", "3gp", "aac", (16_000,), ("mono",)),
    Recipe(
        "fmp4_aac", "mp4", "aac", (44_100, 16_000), states_its_length=False, streams=True, options=(*_FRAGMENTED.items(),)
    ),
    Recipe("fmp4_opus", "mp4", "libopus", (48_000,), states_its_length=False, streams=True, options=(*_FRAGMENTED.items(),)),
    Recipe("caf_pcm_s16le", "caf", "pcm_s16le", (48_000, 8_000, 44_100)),
    Recipe("caf_pcm_f32be", "caf", "pcm_f32be", (48_000,)),
    Recipe("caf_pcm_mulaw", "caf", "pcm_mulaw", (8_000,)),
    Recipe("caf_alac", "caf", "alac", (48_000, 16_000, 44_100)),
    Recipe("wav_pcm_s16le", "wav", "pcm_s16le", _ALL),
    *(Recipe(f"wav_{codec}", "wav", codec, (16_000, 44_100)) for codec in ("pcm_u8", "pcm_s24le", "pcm_s32le", "pcm_f64le")),
    Recipe("wav_pcm_f32le", "wav", "pcm_f32le", (96_000, 16_000)),
    Recipe("wav_pcm_mulaw", "wav", "pcm_mulaw", (8_000, 16_000)),
    Recipe("wav_pcm_alaw", "wav", "pcm_alaw", (8_000, 16_000)),
    Recipe("wav_adpcm_ms", "wav", "adpcm_ms", (22_050, 8_000)),
    Recipe("wav_adpcm_ima", "wav", "adpcm_ima_wav", (22_050, 8_000)),
    Recipe("flac", "flac", "flac", (48_000, *_LOW, 44_100, 96_000)),
    Recipe("mp3", "mp3", "libmp3lame", (44_100, 11_025, 22_050, 24_000, 32_000, 48_000), streams=True),
    # FFmpeg's tag states some samples too many here
    Recipe("mp3_low", "mp3", "libmp3lame", (16_000, 8_000), states_its_length=False, streams=True),
    Recipe("amr_nb", "amr", "libopencore_amrnb", (8_000,), ("mono",), states_its_length=False),
    Recipe("adts", "adts", "aac", (44_100, *_LOW, 32_000, 48_000, 96_000), states_its_length=False, streams=True),
    Recipe("ogg_opus", "ogg", "libopus", (48_000, 16_000), streams=True),
    Recipe("ogg_vorbis", "ogg", "vorbis", (48_000, 44_100), ("stereo",), states_its_length=False),
    Recipe("ogg_flac", "ogg", "flac", (48_000, 16_000), streams=True),
    Recipe("webm_opus", "webm", "libopus", (48_000, 16_000), streams=True),
    Recipe("webm_live", "webm", "libopus", (48_000,), streams=True, options=(("live", "1"), ("cluster_time_limit", "250"))),
    Recipe("webm_vorbis", "webm", "vorbis", (48_000,), ("stereo",), states_its_length=False, streams=True),
    Recipe("mkv_pcm_s16le", "matroska", "pcm_s16le", (44_100, 16_000), streams=True),
    Recipe("mkv_pcm_f32le", "matroska", "pcm_f32le", (48_000,), streams=True),
    Recipe("mkv_aac", "matroska", "aac", (44_100,), states_its_length=False, streams=True),
    Recipe("mkv_flac", "matroska", "flac", (44_100,), streams=True),
    Recipe("mkv_mp3", "matroska", "libmp3lame", (44_100,), streams=True),
    Recipe("aiff_pcm_s16be", "aiff", "pcm_s16be", (44_100, 8_000)),
    Recipe("aiff_pcm_s24be", "aiff", "pcm_s24be", (48_000,)),
    Recipe("au_pcm_s16be", "au", "pcm_s16be", (44_100, 8_000)),
    Recipe("au_pcm_mulaw", "au", "pcm_mulaw", (8_000,)),
)


@dataclass(frozen=True)
class Case:
    recipe: Recipe
    rate: int
    layout: str

    def __str__(self) -> str:
        return f"{self.recipe.name}-{self.rate}-{self.layout}"


def cases(*, everything: bool) -> Iterator[Case]:
    """One of each recipe; or all rates and layouts."""
    for recipe in RECIPES:
        for rate in recipe.rates if everything else recipe.rates[:1]:
            for layout in recipe.layouts if everything else recipe.layouts[:1]:
                yield Case(recipe, rate, layout)


@cache
def made(case: Case) -> Clip:
    recipe, rate, layout = case.recipe, case.rate, case.layout
    samples = round(SECONDS * rate)
    pcm = np.resize(speech("speech_espeak", rate, layout), samples * AudioLayout(layout).nb_channels)
    options = dict(recipe.options)
    bit_rate = 12_200 if "amr" in recipe.codec else None
    data = encode_any(
        pcm, rate=rate, layout=layout, codec=recipe.codec, container=recipe.container, bit_rate=bit_rate, options=options
    )
    if "adpcm" in recipe.codec:
        data = with_fact(data, samples)
    return Clip(data, samples, rate)


def with_fact(wav: bytes, samples: int) -> bytes:
    """FFmpeg states the length of whole blocks; other writers state what was recorded."""
    at = wav.index(b"fact") + 8
    return wav[:at] + struct.pack("<I", samples) + wav[at + 4 :]


def caf_aac() -> Clip:
    """As an iPhone's recorder writes it; FFmpeg's muxer does not. The packets are those of an M4A."""
    clip = make_clip(rate=44_100, samples=60_417)
    data = clip.data
    sizes_at, sizes_end = find(data, "moov/trak/mdia/minf/stbl/stsz")
    sizes = struct.unpack(f">{(sizes_end - sizes_at - 20) // 4}I", data[sizes_at + 20 : sizes_end])
    sound = find(data, "mdat")[0] + 8
    entry = find(data, "moov/trak/mdia/minf/stbl/stsd")[0] + 16
    esds = data.index(b"esds", entry)
    (esds_bytes,) = struct.unpack_from(">I", data, esds - 4)
    cookie = data[esds + 8 : esds - 4 + esds_bytes]
    packets = len(sizes)
    table = struct.pack(">qqii", packets, clip.samples, 1024, packets * 1024 - 1024 - clip.samples)
    table += b"".join(bytes([size >> 7 | 128, size & 127]) if size > 127 else bytes([size]) for size in sizes)
    description = struct.pack(">d4sIIIII", 44_100.0, b"aac ", 2, 0, 1024, 1, 0)
    body = data[sound : sound + sum(sizes)]
    return Clip(
        b"caff\x00\x01\x00\x00"
        + _caf_chunk(b"desc", description)
        + _caf_chunk(b"kuki", cookie)
        + _caf_chunk(b"pakt", table)
        + _caf_chunk(b"data", bytes(4) + body),
        clip.samples,
        clip.rate,
    )


def caf_opus() -> Clip:
    """FFmpeg's file with the packet table that Apple's writer would give it."""
    data = (FOREIGN / "opus.caf").read_bytes()
    at = data.index(b"pakt") + 12 + 8
    return Clip(data[:at] + struct.pack(">qii", 72_003, 312, 72_960 - 312 - 72_003) + data[at + 16 :], 72_003, 48_000)


def _caf_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">4sq", kind, len(content)) + content
