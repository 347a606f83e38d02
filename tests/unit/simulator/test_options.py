from __future__ import annotations

import wave
from pathlib import Path

import pytest

from simulator import voice
from simulator.answers import Call, CallFirst, Echo, Fixed, Question, Retell, Speech, Utterance
from simulator.audio_format import PCM
from simulator.options import BadOption, Options, parse_answer


def test_echo() -> None:
    """an echo is the utterance and its length; without one, a sentence of its own."""
    answer = parse_answer("echo")
    heard = Utterance(bytes(77_136 * 2), PCM)
    assert answer.outputs(Question(heard)) == (Speech("I heard 3.214 seconds (77136 samples).", heard.audio, PCM),)
    assert answer.outputs(Question(None)) == (Speech(voice.SENTENCE, voice.hello()),)
    assert parse_answer("echo=live") == Echo(live=True)


def test_voice() -> None:
    """the simulator's own sentence is some four seconds long."""
    assert 3.0 < len(voice.hello()) / 48_000 < 5.0


def test_tone() -> None:
    """a tone has the length that was asked for."""
    answer = parse_answer("tone=440,1.5")
    assert isinstance(answer, Fixed)
    assert (len(answer.speech.audio), answer.speech.transcript) == (72_000, "A tone of 440 Hz for 1.5 seconds.")


def test_words() -> None:
    """the words are the transcript."""
    answer = parse_answer("text=Good morning = nice day.")
    assert isinstance(answer, Fixed)
    assert answer.speech.transcript == "Good morning = nice day."


def test_call() -> None:
    """functions are called first, and what they have answered is said after that."""
    answer = parse_answer('call=weather:{"city":"Bonn+Köln"}+time:{}')
    weather, time = Call("weather", '{"city":"Bonn+Köln"}'), Call("time", "{}")
    assert answer == CallFirst((weather, time), Retell())
    assert answer.outputs(Question(None)) == (weather, time)
    (said,) = answer.outputs(Question(None, told=("sun", "noon")))
    assert isinstance(said, Speech)
    assert said.transcript == "I was told sun and noon."


@pytest.mark.parametrize("question", [Question(None, may_call=False), Question(None, waits=True)])
def test_no_call(question: Question) -> None:
    """nothing is called that the client does not want, or that was called and has not answered: then it is an echo."""
    assert parse_answer("call=time:{}").outputs(question) == Echo().outputs(question)


def test_speech_and_call() -> None:
    """something may be said in the same response, in front of the calls."""
    said, call = Speech("Let me see."), Call("time", "{}")
    assert CallFirst((call,), before=said).outputs(Question(None)) == (said, call)


def test_wav(tmp_path: Path) -> None:
    """a recording is played as it is, if it is one we can play."""
    path = tmp_path / "a.wav"
    for rate in (24_000, 16_000):
        with wave.open(str(path), "wb") as recording:
            recording.setnchannels(1)
            recording.setsampwidth(2)
            recording.setframerate(rate)
            recording.writeframes(b"\x01\x02" * 2_400)
        if rate == 24_000:
            answer = parse_answer(f"wav={path}")
            assert isinstance(answer, Fixed)
            assert answer.speech == Speech("A recording of 0.100 seconds (2400 samples).", b"\x01\x02" * 2_400)
    with pytest.raises(BadOption, match="16000 Hz"):
        parse_answer(f"wav={path}")
    path.write_bytes(b"RIFF")
    with pytest.raises(BadOption, match="no WAV file"):
        parse_answer(f"wav={path}")


@pytest.mark.parametrize(
    "text", ["sing", "echo=dead", "tone=440", "tone=a,b", "text=", "call=:{}", "call=f:[1]", "call=f:{", "wav=/nowhere.wav"]
)
def test_bad_answers(text: str) -> None:
    """what cannot be answered is refused before anything starts."""
    with pytest.raises(BadOption):
        parse_answer(text)


@pytest.mark.parametrize("bad", [{"delta_ms": 0}, {"speed": -1.0}, {"reject_http": 200}, {"session_s": -1.0}])
def test_bad_options(bad: dict[str, float]) -> None:
    """options are checked when they are built."""
    with pytest.raises(BadOption):
        Options(**bad)  # type: ignore[arg-type]  # several types at once
