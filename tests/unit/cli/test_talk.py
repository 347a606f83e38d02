"""What `parley talk` knows without a gateway."""

from __future__ import annotations

import gc
import io
import wave
from pathlib import Path

import msgspec
import pytest

from cli.app import HELLO
from cli.errors import TalkError
from cli.talk import Recording, TalkResult, _as_json, _door, _pcm, read_recording, write_wav


def wav_file(frames: bytes, rate: int = 24_000) -> bytes:
    """PCM with a header."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(frames)
    return file.getvalue()


def test_the_sample_is_what_a_phone_records() -> None:
    """About five seconds of AAC in less than 100 kB."""
    recording = read_recording(HELLO)
    assert recording.seconds == pytest.approx(4.8, abs=0.05)
    assert recording.description == "aac 44.1 kHz mono"
    assert len(recording.content) < 100_000
    assert not recording.raw


def test_raw_pcm_is_measured_by_its_size_and_declared(tmp_path: Path) -> None:
    """It has no header that a gateway could look at."""
    path = tmp_path / "words.pcm"
    path.write_bytes(bytes(48_000))
    recording = read_recording(path)
    assert (recording.seconds, recording.raw) == (1.0, True)
    assert _door("ws://h:1", "ann", recording.raw, "pcm16") == "ws://h:1/ws-mobile/ann?paced=0&input_format=pcm16"


def test_a_wav_file_tells_its_length(tmp_path: Path) -> None:
    """In seconds of its own rate."""
    path = tmp_path / "words.wav"
    path.write_bytes(wav_file(bytes(16_000), rate=16_000))
    assert read_recording(path).seconds == pytest.approx(0.5)


def test_what_ffmpeg_does_not_know_has_no_length_but_can_be_sent(tmp_path: Path) -> None:
    """The gateway decides what it can decode."""
    path = tmp_path / "noise.bin"
    path.write_bytes(b"this is not audio at all, not even a little" * 20)
    recording = read_recording(path)
    assert (recording.seconds, recording.description) == (None, "not known here as audio")


@pytest.mark.parametrize(("count", "named"), [(1, "mono"), (2, "stereo")])
def test_channels_are_named_as_people_do(tmp_path: Path, count: int, named: str) -> None:
    """A WAV says how many they are, and no more."""
    path = tmp_path / "words.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((count, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(8_000))
    assert read_recording(path).description == f"pcm_s16le 8 kHz {named}"


@pytest.mark.parametrize("name", ["nowhere.m4a", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    """With the system's reason."""
    with pytest.raises(TalkError, match="cannot be read: "):
        read_recording(tmp_path / name)


def test_a_place_that_is_a_folder_is_named(tmp_path: Path) -> None:
    """And no half made writer is left behind to fail in its turn."""
    with pytest.raises(TalkError, match="cannot be written: Is a directory"):
        write_wav(tmp_path, bytes(2))
    gc.collect()


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """There is nothing to say."""
    (tmp_path / "empty.m4a").touch()
    with pytest.raises(TalkError, match="is empty"):
        read_recording(tmp_path / "empty.m4a")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ws://127.0.0.1:8000", "ws://127.0.0.1:8000/ws-mobile/a%2Fb%20c?paced=0"),
        ("http://127.0.0.1:8000/", "ws://127.0.0.1:8000/ws-mobile/a%2Fb%20c?paced=0"),
        ("https://voice.example", "wss://voice.example/ws-mobile/a%2Fb%20c?paced=0"),
        ("voice.example:8000", "ws://voice.example:8000/ws-mobile/a%2Fb%20c?paced=0"),
    ],
)
def test_any_way_to_write_the_url_leads_to_the_door(url: str, address: str) -> None:
    """And the user is one segment of the path, whatever it contains."""
    assert _door(url, "a/b c", False, "pcm16") == address


def test_wav_answers_are_asked_for_and_unpacked() -> None:
    """Also those whose header does not know its length."""
    assert _door("ws://h", "ann", False, "wav").endswith("?paced=0&audio_format=wav")
    whole = wav_file(b"\x01\x02" * 100)
    endless = whole[:40] + b"\xff\xff\xff\xff" + whole[44:]
    assert _pcm(whole, "wav") == _pcm(endless, "wav") == b"\x01\x02" * 100
    assert _pcm(b"RIFF", "pcm16") == b"RIFF"


def test_the_json_has_what_scripts_need() -> None:
    """And null for what is not known."""
    result = TalkResult(None, bytearray(24_000), 12.5, "hello", [])
    answer = msgspec.json.decode(_as_json(Recording(Path("a.bin"), b"x", None, ""), result, Path("o.wav")))
    assert answer == {
        "sent": "a.bin",
        "sent_seconds": None,
        "received": "o.wav",
        "received_seconds": 0.5,
        "first_audio_ms": 12.5,
        "transcript": "hello",
        "errors": [],
    }


def test_a_result_is_good_only_with_speech_and_without_errors() -> None:
    """That is what the exit code says."""
    assert TalkResult(1.0, bytearray(2)).good
    assert not TalkResult(1.0).good
    assert not TalkResult(1.0, bytearray(2), errors=["it broke"]).good


def test_the_answer_is_written_as_a_wav_file_even_into_a_new_directory(tmp_path: Path) -> None:
    """24 kHz mono."""
    write_wav(tmp_path / "new" / "answer.wav", bytes(48_000))
    with wave.open(str(tmp_path / "new" / "answer.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (24_000, 1, 24_000)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """As a sentence."""
    (tmp_path / "file").touch()
    with pytest.raises(TalkError, match="cannot be written"):
        write_wav(tmp_path / "file" / "answer.wav", b"")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:8000", "ws://", "http://:8000", "ws://127.0.0.1:port"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    """Nobody can be asked there, so it is no question of starting something."""
    with pytest.raises(TalkError, match="is not the address of a gateway"):
        _door(url, "ann", False, "pcm16")
