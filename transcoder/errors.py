"""What can go wrong between a client's bytes and PCM.

MediaError                      one file is refused; the session goes on
├── Empty                       "empty"              there were no bytes
├── NotAudio                    "not_audio"          a picture, a web page, a text, a film without sound
├── UnsupportedMedia            "unsupported_media"  audio, but of a kind that is not taken
├── BrokenMedia                 "broken_media"       of a kind that is taken, but damaged or cut off
├── TooLarge                    "too_large"          more bytes than a file may have
├── TooLong                     "too_long"           more seconds than the client has left
├── TooFast                     "too_fast"           a stream brought more than is taken at once
└── DecoderFailed               "decoder_failed"     the decoder died or hung on it, twice
    └── DecoderBusy             "decoder_busy"       too many files wait already; nothing is wrong with this one

Each answers three questions: what happened (`code`, stable, for programs; `str(error)`, a sentence for the person
that names what was found and what to do), whose fault it is (`fault`), and whether the same bytes may be sent again
with hope (`recoverable`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal


class MediaError(Exception):
    """A file that gave no audio. Raised as one of its subclasses."""

    code: ClassVar[str] = "media_error"
    fault: ClassVar[Literal["client", "server"]] = "client"
    recoverable: ClassVar[bool] = False

    @property
    def message(self) -> str:
        """The sentence for the person; the same as `str(error)`."""
        return str(self)

    def facts(self) -> dict[str, float]:
        """The numbers the message was made from, by name: what a copy of the error is built of."""
        return {}


class Empty(MediaError):
    code = "empty"

    def __init__(self, message: str = "the audio is empty: there were no bytes; send a whole recording") -> None:
        super().__init__(message)


class NotAudio(MediaError):
    code = "not_audio"


class UnsupportedMedia(MediaError):
    code = "unsupported_media"


class BrokenMedia(MediaError):
    code = "broken_media"


class TooLarge(MediaError):
    """`found` and `allowed` are bytes."""

    code = "too_large"

    def __init__(self, found: int, allowed: int) -> None:
        self.found, self.allowed = found, allowed
        super().__init__(
            f"this file has {found / 1e6:.1f} MB and {allowed / 1e6:.1f} MB are allowed; send shorter recordings"
        )

    def facts(self) -> dict[str, float]:
        return {"found": self.found, "allowed": self.allowed}


class TooLong(MediaError):
    """`found_s` seconds of audio, `allowed_s` of them allowed now.

    `wait_s` is when the whole file will fit: `None` where that is not known, `inf` for never. The decoder knows
    no clock and leaves it out; who keeps the bucket (`limits.DecodedSeconds`) adds it by `fits_in`. When `at_least`
    is not zero, decoding stopped at the limit and the true length is not known.
    """

    code = "too_long"
    recoverable = True

    def __init__(
        self, found_s: float, allowed_s: float, *, at_least: float | bool = False, wait_s: float | None = None
    ) -> None:
        self.found_s, self.allowed_s = found_s, allowed_s
        self.at_least, self.wait_s = bool(at_least), wait_s
        found = f"more than {allowed_s:.1f}" if self.at_least else f"{found_s:.1f}"
        if wait_s is None:
            advice = "send shorter recordings, or wait"
        elif wait_s == float("inf"):
            advice = "it will never fit: send shorter recordings"
        else:
            advice = f"send it again in {wait_s:.0f} s, or send shorter recordings"
        super().__init__(f"this file has {found} s of audio and {allowed_s:.1f} s are allowed now; {advice}")

    def fits_in(self, wait_s: float | None) -> TooLong:
        """The same error, saying when the file will fit. `None`, as `DecodedSeconds.wait_s` answers it, is never."""
        return TooLong(
            self.found_s,
            self.allowed_s,
            at_least=self.at_least,
            wait_s=float("inf") if wait_s is None else wait_s,
        )

    def facts(self) -> dict[str, float]:
        facts = {"found_s": self.found_s, "allowed_s": self.allowed_s, "at_least": float(self.at_least)}
        return facts if self.wait_s is None else facts | {"wait_s": self.wait_s}


class TooFast(MediaError):
    """`allowed_s` seconds of sound are taken at once from a stream, in which nothing can be left out."""

    code = "too_fast"

    def __init__(self, allowed_s: float) -> None:
        super().__init__(
            f"more sound came at once than is taken ({allowed_s:.0f} s, and one more each second); "
            "begin a new recording, and send it as it is made"
        )


class DecoderFailed(MediaError):
    code = "decoder_failed"
    fault = "server"
    recoverable = True


class DecoderBusy(DecoderFailed):
    code = "decoder_busy"

    def __init__(self, message: str = "the server has too much audio to decode; send it again in a moment") -> None:
        super().__init__(message)


_SENTENCES: dict[str, type[MediaError]] = {
    error.code: error for error in (Empty, NotAudio, UnsupportedMedia, BrokenMedia, DecoderFailed, DecoderBusy)
}


def rebuild(code: str, message: str, facts: Mapping[str, float]) -> MediaError:
    """The error that another process told by `code`, `str(error)` and `facts()`.

    Raises ValueError for what no error of ours says.
    """
    try:
        if code == TooLarge.code:
            return TooLarge(int(facts["found"]), int(facts["allowed"]))
        if code == TooLong.code:
            return TooLong(facts["found_s"], facts["allowed_s"], at_least=facts["at_least"], wait_s=facts.get("wait_s"))
        return _SENTENCES[code](message)
    except (KeyError, OverflowError) as error:
        raise ValueError(f"no such media error: {code!r}") from error
