"""PURE. What the bytes are, whatever they are called.

A name, a MIME type and a file extension are claims; the first bytes are evidence. Only what is recognised here is
ever opened, and then by an explicit format: a playlist or a concat script that is called voice.m4a is a text.
"""

from __future__ import annotations

from enum import Enum

_LOOK_AT = 512
"""No magic number below lies deeper."""


class Kind(Enum):
    """What a file is; the value is its name in a sentence."""

    NOTHING = "nothing"
    MP4 = "an M4A/MP4 file"
    WEBM = "a WebM file"
    MATROSKA = "a Matroska file"
    OGG_OPUS = "an Ogg Opus file"
    OGG_VORBIS = "an Ogg Vorbis file"
    OGG = "an Ogg file"
    WAV = "a WAV file"
    FLAC = "a FLAC file"
    MP3 = "an MP3 file"
    ADTS = "an AAC (ADTS) stream"
    LATM = "an AAC (LATM) stream"
    AMR = "an AMR file"
    CAF = "a CAF file"
    AIFF = "an AIFF file"
    AU = "an AU file"
    ASF = "a WMA/ASF file"
    AVI = "an AVI video"
    MPEG_TS = "an MPEG transport stream"
    PLAYLIST = "a playlist"
    CONCAT = "an FFmpeg concat script"
    HTML = "a web page (HTML)"
    XML = "an XML text"
    JSON = "a JSON text"
    TEXT = "a text"
    ZIP = "a ZIP archive"
    GZIP = "a gzip archive"
    PDF = "a PDF document"
    PNG = "a PNG image"
    JPEG = "a JPEG image"
    GIF = "a GIF image"
    WEBP = "a WebP image"
    HEIF = "a HEIF/AVIF image"
    PROGRAM = "a program"
    ZEROS = "nothing but zero bytes"
    UNKNOWN = "nothing that is known here"

    @property
    def is_media(self) -> bool:
        """Whether there is, or may well be, sound in it."""
        return self in _MEDIA


_MEDIA = frozenset(
    {
        Kind.MP4, Kind.WEBM, Kind.MATROSKA, Kind.OGG_OPUS, Kind.OGG_VORBIS, Kind.OGG, Kind.WAV, Kind.FLAC, Kind.MP3,
        Kind.ADTS, Kind.LATM, Kind.AMR, Kind.CAF, Kind.AIFF, Kind.AU, Kind.ASF, Kind.AVI, Kind.MPEG_TS,
    }
)  # fmt: skip

_MAGIC: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"fLaC", Kind.FLAC),
    (0, b"#!AMR", Kind.AMR),
    (0, b"caff\x00\x01", Kind.CAF),
    (0, b"FORM", Kind.AIFF),
    (0, b".snd", Kind.AU),
    (0, bytes.fromhex("3026b2758e66cf11"), Kind.ASF),
    (0, b"%PDF-", Kind.PDF),
    (0, b"PK\x03\x04", Kind.ZIP),
    (0, b"PK\x05\x06", Kind.ZIP),
    (0, b"\x1f\x8b", Kind.GZIP),
    (0, b"\x89PNG\r\n\x1a\n", Kind.PNG),
    (0, b"\xff\xd8\xff", Kind.JPEG),
    (0, b"GIF8", Kind.GIF),
    (0, b"\x7fELF", Kind.PROGRAM),
    (0, b"MZ", Kind.PROGRAM),
)
"""What a fixed text at a fixed place decides (offset, bytes, kind), strongest first."""

_RIFF = {b"WAVE": Kind.WAV, b"AVI ": Kind.AVI, b"WEBP": Kind.WEBP}
_OGG = ((b"OpusHead", Kind.OGG_OPUS), (b"\x01vorbis", Kind.OGG_VORBIS))
_IMAGE_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis"})
_MP4_FIRST_BOXES = frozenset({b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"sidx"})
"""QuickTime's first box may be any of these; without an `ftyp` before it only these are believed."""


def sniff(data: bytes) -> Kind:
    """What the bytes are. Looks at the start only, and at most once at each byte of a text's beginning."""
    if not data:
        return Kind.NOTHING
    head = bytes(data[:_LOOK_AT])
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    for recognise in (_iso_media, _matroska, _ogg, _riff, _mpeg_audio, _transport_stream):
        if (found := recognise(head)) is not None:
            return found
    if not any(head):
        return Kind.ZEROS
    return _text(head) or Kind.UNKNOWN


def begins_a_recording(chunk: bytes) -> bool:
    """Whether these bytes of a stream are the beginning of a container, which no stream has in its middle.

    (Every page of an Ogg stream begins with `OggS`; those that begin one say so.)
    """
    if chunk.startswith(b"OggS"):
        return len(chunk) > 5 and bool(chunk[5] & 2)
    return chunk.startswith((b"\x1a\x45\xdf\xa3", b"ID3")) or chunk[4:8] == b"ftyp"


def _iso_media(head: bytes) -> Kind | None:
    """ISO 14496-12: a box is 4 bytes of size, then 4 of type; a file begins with `ftyp` and its major brand."""
    box = head[4:8]
    if box == b"ftyp":
        return Kind.HEIF if head[8:12] in _IMAGE_BRANDS else Kind.MP4
    return Kind.MP4 if box in _MP4_FIRST_BOXES else None


def _matroska(head: bytes) -> Kind | None:
    """An EBML header names its DocType within the first bytes."""
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    return Kind.WEBM if b"webm" in head[:64] else Kind.MATROSKA


def _ogg(head: bytes) -> Kind | None:
    if not head.startswith(b"OggS"):
        return None
    return next((kind for magic, kind in _OGG if magic in head[:64]), Kind.OGG)


def _riff(head: bytes) -> Kind | None:
    return _RIFF.get(head[8:12]) if head[:4] in (b"RIFF", b"RF64") else None


def _mpeg_audio(head: bytes) -> Kind | None:
    """ISO 11172-3 and 13818-7: twelve set bits, then version and layer; layer 0 is AAC. ID3 tags stand before MP3."""
    if head.startswith(b"ID3"):
        return Kind.MP3
    if len(head) < 4 or head[0] != 0xFF:
        return Kind.LATM if len(head) > 2 and head[0] == 0x56 and head[1] & 0xE0 == 0xE0 else None
    if head[1] & 0xF6 == 0xF0:
        return Kind.ADTS if head[2] >> 2 & 0xF < 13 else None
    if head[1] & 0xE0 != 0xE0 or head[1] >> 3 & 3 == 1 or head[1] >> 1 & 3 == 0:
        return None
    return Kind.MP3 if head[2] >> 4 != 0xF and head[2] >> 2 & 3 != 3 else None


def _transport_stream(head: bytes) -> Kind | None:
    """ISO 13818-1: packets of 188 bytes, each beginning with 0x47."""
    return Kind.MPEG_TS if len(head) > 376 and head[0] == head[188] == head[376] == 0x47 else None


def _text(head: bytes) -> Kind | None:
    """Text of some kind, when all of it is printable UTF-8 (but for a letter that the end of `head` cut)."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return None
        text = head[: error.start].decode("utf-8")
    text = text.lstrip("\ufeff \t\r\n")
    if any(letter < " " and letter not in "\t\r\n\f\x1b" for letter in text):
        return None
    lower = text[:64].lower()
    if lower.startswith(("#extm3u", "[playlist]")):
        return Kind.PLAYLIST
    if lower.startswith(("ffconcat", "file ", "file\t")):
        return Kind.CONCAT
    if lower.startswith(("<!doctype html", "<html", "<head", "<body")):
        return Kind.HTML
    if lower.startswith("<"):
        return Kind.XML
    return Kind.JSON if lower.startswith(("{", "[")) else Kind.TEXT
